"""Bytes of a domain in each tier, domains per GB, and growth of memory over a thousand swaps."""

from __future__ import annotations

import argparse
import gc
import resource
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.banked import Banked, banked
from benchmarks.report import choose_shapes, parser, wait_for_turn, write
from ssvd_asr.device import resolve_device

GB = 10**9
WARM_UP = 0.1  # share of the swaps that run before memory is first measured


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write a table for each shape."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    for shape in arguments.shapes:
        with banked(shape, p=arguments.p, device=device) as served:
            wait_for_turn()
            rows = [*_sizes(served), *_growth(served, arguments.swaps)]
            write(
                f"memory-{shape}", rows, device=device, out=arguments.out, quick=arguments.quick,
                shape=shape, p=arguments.p, dtype=str(served.recogniser.dtype), swaps=arguments.swaps,
            )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", default=None, help="default nano and 0.1b; on a GPU 1b")
    made.add_argument("--p", type=float, default=0.4, help="share of min(m, n) that turns")
    made.add_argument("--swaps", type=int, default=None, help="default 1000, quick 50")
    arguments = made.parse_args(argv)
    choose_shapes(arguments, gpu=resolve_device(arguments.device).type == "cuda", quick="nano")
    if arguments.swaps is None:
        arguments.swaps = 50 if arguments.quick else 1000
    return arguments


def _sizes(served: Banked) -> list[dict[str, object]]:
    """Return the bytes of one domain in each tier, and of the base's weights for comparison."""
    sizes = {
        "file on disk": served.versions[0].size_bytes,
        "packed in host memory": served.host_nbytes,
        "slot on the device": served.slot_nbytes,
        "dense cores in float32": 4 * sum(k * k for k in served.subject.k.values()),
    }
    rows: list[dict[str, object]] = [
        {"what": what, "bytes": size, "domains_per_gb": GB // size} for what, size in sizes.items()
    ]
    base = sum(each.numel() * each.element_size() for each in served.subject.base.network.parameters())
    return [*rows, {"what": "the base's weights", "bytes": base}]


def _growth(served: Banked, swaps: int) -> list[dict[str, object]]:
    """Swap three domains in turn in a bank with room for one. Each swap reads a file and writes a slot."""
    with served.bank(slots=1, held=1) as bank:
        _swap(served, bank, max(3, int(WARM_UP * swaps)))
        before = _memory(served)
        _swap(served, bank, swaps)
        after = _memory(served)
    return [{"what": f"{what} before", "bytes": size} for what, size in before.items()] + [
        {"what": f"{what} after {swaps} swaps", "bytes": size, "growth_bytes": size - before[what]}
        for what, size in after.items()
    ]


def _swap(served: Banked, bank: object, count: int) -> None:
    for index in range(count):
        served.touch(bank, served.versions[index % len(served.versions)])  # type: ignore[arg-type]


def _memory(served: Banked) -> dict[str, int]:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    found = {
        "process peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "process now": pages * resource.getpagesize(),
    }
    device = served.recogniser.device
    if device.type == "cuda":
        found["device peak"] = torch.cuda.max_memory_allocated(device)
        found["device now"] = torch.cuda.memory_allocated(device)
    return found


if __name__ == "__main__":
    main()
