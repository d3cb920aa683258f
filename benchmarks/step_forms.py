"""Time of one adapted linear at a decoder's step, by each way that it can treat blocks of rows.

`base` is the frozen linear on the same rows. `cores`, `folded` and `merged` are the ways of
ssvd_asr.mixing.static_cores, whose rule was read off such a table. A layer is repeated with as many copies of
its weights as exceed the cache, and the repetitions are recorded as one graph, as the layers of a step are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from benchmarks.report import median_of, parser, write
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.mixing.static_cores import MergedLayer, StaticLayer

CACHE_BYTES = 300 * 2**20  # more than a GPU's cache
MOST_COPIES = 24
Run = Callable[[Tensor], Tensor]


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    made = parser(__doc__)
    made.add_argument("--width", type=int, help="of the model; default 1024, quick 64")
    made.add_argument("--rows", type=int, default=64)
    made.add_argument("--blocks", type=int, nargs="+", default=[1, 4, 8, 16, 64])
    made.add_argument("--p", type=float, default=0.4, help="k = p min(m, n)")
    made.add_argument("--repeats", type=int, default=5)
    arguments = made.parse_args(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    arguments.width = arguments.width or (64 if arguments.quick else 1024)
    write(
        "step_forms", _measure(device, arguments), device=device, out=arguments.out, quick=arguments.quick,
        width=arguments.width, rows_a_step=arguments.rows, p=arguments.p, repeats=arguments.repeats,
    )  # fmt: skip


def _measure(device: torch.device, arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    width = arguments.width
    for m, n in ((width, width), (4 * width, width), (width, 4 * width)):
        for dtype in (torch.bfloat16, torch.float32):
            for blocks in arguments.blocks:
                row = {"m": m, "n": n, "dtype": str(dtype).removeprefix("torch."), "blocks": blocks}
                yield {**row, **_times(m, n, dtype, blocks, device, arguments)}
                print(row, file=sys.stderr, flush=True)


def _times(
    m: int, n: int, dtype: torch.dtype, blocks: int, device: torch.device, arguments: argparse.Namespace
) -> dict[str, float]:
    """Return microseconds by way."""
    x = torch.randn(arguments.rows, n, device=device, dtype=dtype)
    k = int(arguments.p * min(m, n))
    copies = min(MOST_COPIES, 1 + CACHE_BYTES // (m * n * dtype.itemsize))
    found: dict[str, float] = {}
    for way in ("base", "cores", "folded", "merged"):
        runs = [_layer(way, m, n, k, blocks, x) for _ in range(copies)]
        every = _recorded([lambda run=run: run(x) for run in runs], device)  # type: ignore[misc]
        found[f"{way}_us"] = 1e6 * median_of(every, arguments.repeats, clock=arguments.clock) / copies
        del runs, every
    return found


def _layer(way: str, m: int, n: int, k: int, blocks: int, x: Tensor) -> Run:
    """Return a layer of random weights that treats its blocks this way."""
    with x.device:
        linear = nn.Linear(n, m, dtype=x.dtype).requires_grad_(False)
        factors = LayerFactors(torch.randn(m, k), torch.ones(k, dtype=torch.float64), torch.randn(k, n), k)
        layer = AdaptedLinear(linear, factors)
        layer.join()
        held = len(layer.ut)
        bias = torch.cat([linear.bias, linear.bias.new_zeros(held)])
        if way == "base":
            return linear
        if way == "merged":
            return MergedLayer(layer, torch.randn(blocks, m, n, dtype=x.dtype))
        factor = torch.randn(blocks, held, m if way == "folded" else held, dtype=x.dtype)
        return StaticLayer(layer, factor, bias, folded=way == "folded")


def _recorded(runs: Sequence[Callable[[], Tensor]], device: torch.device) -> Callable[[], object]:
    """Return a call that does all runs, on a GPU as one recorded graph."""

    def once() -> None:
        for run in runs:
            run()

    if device.type != "cuda":
        return once
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        once()  # libraries choose kernels and allocate memory
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        once()
    return graph.replay


if __name__ == "__main__":
    main()
