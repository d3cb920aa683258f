"""WER of the packaged domains with their cores D compressed to lower ranks.

The compression is off by default and not exact. The table shows at which rank the WER is still that of the
whole core. A row is a domain's test set at one rank. `lost` is |D - D_r| / |D| (Frobenius) of the worst
layer, and `numbers` the share of the whole core's numbers that a slot holds. From rank k / 2 on, a core stays
whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from adapters_store.packaged import PACKAGED, builtins
from benchmarks.report import parser, write
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.options import GREEDY
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.mixing.compression import Compression, core_numbers
from training.evaluate import evaluate

QUICK_UTTERANCES = 100


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    made = parser(__doc__)
    made.add_argument("--data", type=Path, default=Path("data/espeak"), help="with <domain>-test inside")
    made.add_argument("--ranks", type=int, nargs="+", help="default 24 16 8 4, quick 8")
    arguments = made.parse_args(argv)
    arguments.ranks = arguments.ranks or ([8] if arguments.quick else [24, 16, 8, 4])
    device = resolve_device(arguments.device)
    forbid_tf32()
    rows = [row for domain in builtins(PACKAGED) for row in _measure(domain, arguments)]
    write("compressed-owsm-nano", rows, device=device, out=arguments.out, quick=arguments.quick)


def _measure(domain: str, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Return a row for the whole core, then one for each rank."""
    base = load_base(device=arguments.device, dtype="float32")
    factors = factorize(base)
    loaded = load_adapter(builtins(PACKAGED)[domain].path, base, factors)
    adapted = adapt(base.network, factors, rank=max(loaded.adapter.spans.values()))
    whole = loaded.adapter.to(base.device).cores(base.dtype)
    test = arguments.data / f"{domain}-test" / "manifest.jsonl"
    first = QUICK_UTTERANCES if arguments.quick else None
    rows: list[dict[str, object]] = []
    for rank in (None, *arguments.ranks):
        cores = whole if rank is None else _held_at(rank, whole)
        found = evaluate(
            base, test, adapted=adapted, cores=cores, first=first, progress=False, options=GREEDY
        )
        rows.append({
            "domain": domain, "k": max(loaded.adapter.ks.values()), "rank": rank or "whole",
            "lost": max(_lost(core, cores[name]) for name, core in whole.items()),
            "numbers": 1.0 if rank is None else _share(rank, whole),
            "wer": found.score.wer, "utterances": found.score.utterances,
        })  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _held_at(rank: int, cores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the cores that a stack with this compression computes with."""
    held, compression = dict(cores), Compression(rank, 1.0)
    for name, core in cores.items():
        if compression.pays(len(core)):
            left, right = compression.split(name, core)
            held[name] = (left @ right).to(core)
    return held


def _lost(core: Tensor, held: Tensor) -> float:
    return float((core - held).detach().norm() / core.detach().norm())


def _share(rank: int, cores: Mapping[str, Tensor]) -> float:
    stored = sum(core_numbers(len(core), Compression(rank, 1.0)) for core in cores.values())
    return stored / sum(core.numel() for core in cores.values())


if __name__ == "__main__":
    main()
