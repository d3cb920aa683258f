"""Time to compute a base's factors by each method, for each shape of weight and for whole models.

One weight of each shape is factorised by svd, by the Gram matrix's eigh, and as `ssvd factorize` does (the
faster of the two at equal accuracy, batched on a GPU). A model's time is the sum over its layers, without
reading and writing. `deviation` is the largest difference between U S V^T by eigh and by svd, over sigma_1.
It is missing if the condition of the random weight is too large for eigh.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor

from benchmarks.report import parser, side_by_side, write
from ssvd_asr.base.owsm.shapes import SHAPES, meta_network
from ssvd_asr.basis.factors import LayerFactors, canonical_svd
from ssvd_asr.basis.factors_batched import canonical_svd_batch
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.errors import BaseModelError


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", choices=SHAPES, help="default 0.1b 1b owls-2b, quick nano")
    made.add_argument("--repeats", type=int, default=1)
    arguments = made.parse_args(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    shapes = arguments.shapes or (["nano"] if arguments.quick else ["0.1b", "1b", "owls-2b"])
    rows = [row for shape in shapes for row in _model(shape, device, arguments)]
    write(
        "factorize", rows, device=device, out=arguments.out, quick=arguments.quick, repeats=arguments.repeats
    )


def _model(shape: str, device: torch.device, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Return a row for each shape of weight, and one for the model."""
    counts = Counter(
        tuple(layer.weight.shape) for layer in match_layers(meta_network(SHAPES[shape])).values()
    )
    rows: list[dict[str, object]] = []
    totals = dict.fromkeys(("svd_s", "factorize_s"), 0.0)
    for (m, n), layers in sorted(counts.items()):
        row = _weight(m, n, device, arguments)
        rows.append({"model": shape, "weight": f"{m} x {n}", "layers": layers, **row})
        totals = {name: total + layers * float(str(row[name])) for name, total in totals.items()}
        print(rows[-1], file=sys.stderr, flush=True)
    return [*rows, {"model": shape, "weight": "all", "layers": counts.total(), **totals}]


def _weight(m: int, n: int, device: torch.device, arguments: argparse.Namespace) -> dict[str, object]:
    """Measure a weight as initialised. Its condition is like that of trained weights of these shapes."""
    weight = torch.nn.Linear(n, m, bias=False).weight.detach()
    found: dict[str, LayerFactors] = {}

    def keep(name: str, run: Callable[[], LayerFactors]) -> None:
        with suppress(BaseModelError):  # the condition is too large for eigh
            found[name] = run()

    ways = {
        "svd": partial(canonical_svd, weight, "svd"),
        "eigh": partial(canonical_svd, weight, "eigh"),
        "factorize": partial(_auto, weight, device),
    }
    timed = side_by_side(
        {name: partial(keep, name, run) for name, run in ways.items()},
        arguments.repeats, warm_up=0, clock=arguments.clock,
    )  # fmt: skip
    row: dict[str, object] = {f"{name}_s": timed[name].median_s for name in found}
    if "eigh" in found:
        svd, eigh = found["svd"], found["eigh"]
        apart = (svd.u * svd.s) @ svd.vh - (eigh.u * eigh.s) @ eigh.vh
        row["deviation"] = float(apart.abs().max() / svd.s[0])
    return row


def _auto(weight: Tensor, device: torch.device) -> LayerFactors:
    if device.type == "cpu":
        return canonical_svd(weight)
    (factors,) = canonical_svd_batch([weight], device)
    return factors


if __name__ == "__main__":
    main()
