"""`ssvd adapters compare`: how near two adapters of one base are, layer by layer and on each other's data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_store.places import place_of
from adapters_store.store import STORE_VARIABLE, AdapterStore
from ssvd_asr.manifests.read import check_source
from ssvd_asr.output_paths import check_output_file
from ssvd_asr.parser import CommandParser
from training.arguments import add_base_arguments
from training.blend_parts import NamedAdapter, check_one_base, read_adapter
from training.evaluate import evaluate

if TYPE_CHECKING:
    from ssvd_asr.adapter.nearness import Nearness


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    data = {
        which: getattr(arguments, f"data_{which}") for which in "ab" if getattr(arguments, f"data_{which}")
    }
    for source in data.values():
        check_source(source)
    if arguments.plot is not None:
        check_output_file(arguments.plot, "--plot")
        import_module("matplotlib")  # of an extra; missed now, not after the work
    store = AdapterStore(arguments.store)
    pair = [read_adapter(text, store, weighted=False) for text in (arguments.a, arguments.b)]
    check_one_base(pair)
    from ssvd_asr.adapter.nearness import nearness
    from ssvd_asr.adapter.read import load_adapter

    near = nearness(*(load_adapter(each.data).adapter for each in pair))
    result = {
        "a": pair[0].name,
        "b": pair[1].name,
        "a_sha256": pair[0].sha256,
        "b_sha256": pair[1].sha256,
        **asdict(near),
        "wer": _crossed(arguments, pair, data),
    }
    if arguments.plot is not None:
        from training.compare_plot import plot

        plot(result, arguments.plot)
    print(json.dumps(result) if arguments.json else _table(result, near))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="ssvd adapters compare", description=__doc__)
    parser.add_argument("a", metavar="A", help="an adapter file, or a domain of the store")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--data-a", type=Path, metavar="DATA", help="data of A, decoded by base, A and B")
    parser.add_argument("--data-b", type=Path, metavar="DATA", help="data of B, decoded by base, A and B")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N entries of the data")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture (.svg, .png or .pdf)")
    parser.add_argument(
        "--store", type=place_of, help=f"its folder (default: {STORE_VARIABLE}, else the user's)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_base_arguments(parser)
    return parser


def _crossed(
    arguments: argparse.Namespace, pair: Sequence[NamedAdapter], data: dict[str, Path]
) -> dict[str, dict[str, Any]]:
    """Return the WER of base, A and B on each of the data; empty without data.

    Raises AdapterError for a file that is damaged or not of this base.
    """
    if not data:
        return {}
    import torch

    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.base.load import load_base
    from ssvd_asr.basis.cache import factorize

    base = load_base(arguments.base, arguments.device, "float32", arguments.config, arguments.checkpoint)
    factors = factorize(base)
    adapters = [load_adapter(each.data, base, factors).adapter.to(base.device) for each in pair]
    adapted = adapt(base.network, factors, rank=max(max(each.spans.values()) for each in adapters))
    with torch.no_grad():
        systems = {
            "base": None,
            **dict(zip("ab", (each.cores(base.dtype) for each in adapters), strict=True)),
        }
    rates: dict[str, dict[str, Any]] = {}
    for which, source in data.items():
        found = {
            name: evaluate(
                base, source, adapted=adapted, cores=cores, language=arguments.language, first=arguments.first
            )
            for name, cores in systems.items()
        }
        rates[f"data_{which}"] = {
            "utterances": found["base"].score.utterances,
            **{name: each.score.wer for name, each in found.items()},
        }
    return rates


def _table(result: dict[str, Any], near: Nearness) -> str:
    """Return the result as text, a line for each layer."""
    rows = [("layer", "k", "cosine", "skew", "delta_sigma", "angle", "chance", "size A", "size B")]
    for each in near.layers:
        rows.append(
            (
                each.layer, str(each.k), _signed(each.cosine), _signed(each.skew), _signed(each.delta_sigma),
                "-" if each.angle_deg is None else f"{each.angle_deg:.0f}", f"{each.chance_deg:.0f}",
                f"{each.size_a:.3f}", f"{each.size_b:.3f}",
            )
        )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    for name, only in (("a", near.only_a), ("b", near.only_b)):
        if only:
            lines.append(f"{len(only)} layers only in {result[name]}, first {only[0]}")
    for which, rates in result["wer"].items():
        owner = result[which.removeprefix("data_")]
        told = ", ".join(f"{result.get(name, name)} {rates[name]:.1%}" for name in ("base", "a", "b"))
        lines.append(f"WER on the data of {owner}, {rates['utterances']} utterances: {told}")
    lines.append(
        f"A is {result['a']}, B is {result['b']}: cosine of all layers {_signed(near.cosine)} (skew "
        f"{_signed(near.skew)}, delta_sigma {_signed(near.delta_sigma)}); angles in degrees"
    )
    return "\n".join(lines)


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
