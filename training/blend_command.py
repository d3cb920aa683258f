"""`ssvd adapters blend`: one adapter file of several, each times a weight that is given or fitted."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_store.blends import MAX_PARTS
from adapters_store.places import place_of
from adapters_store.store import STORE_VARIABLE, AdapterStore
from ssvd_asr.errors import BlendError
from ssvd_asr.manifests.read import check_source
from ssvd_asr.output_paths import check_output_file
from ssvd_asr.parser import CommandParser
from training.arguments import add_base_arguments
from training.blend_fit import GRID, Fit, Weights, fit_weights
from training.blend_parts import Blending, NamedAdapter, check_one_base, read_adapter
from training.evaluate import Evaluation, evaluate

if TYPE_CHECKING:
    from ssvd_asr.adapted_model import AdaptedModel
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.base.model import BaseModel

Report = Callable[[str], None]


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    check_output_file(arguments.out, "OUT")
    if arguments.out.exists():
        raise BlendError(f"{arguments.out} is there already")
    if arguments.fit is not None:
        check_source(arguments.fit)
    parts = _parts(arguments)
    result = _blend(arguments, parts, lambda line: print(line, file=sys.stderr))
    told = "+".join(f"{each['name']}*{each['weight']:g}" for each in result["parts"])
    print(json.dumps(result) if arguments.json else f"{arguments.out}: {told}, sha256:{result['sha256']}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="ssvd adapters blend", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="the new adapter file")
    parser.add_argument(
        "parts",
        nargs="+",
        metavar="PART",
        help="an adapter file or a domain of the store with its weight, as child*0.8; without it for --fit",
    )
    parser.add_argument(
        "--fit",
        type=Path,
        metavar="DATA",
        help="find the weights with the lowest WER on these validation data, each one of "
        + ", ".join(f"{weight:g}" for weight in GRID),
    )
    parser.add_argument(
        "--store", type=place_of, help=f"its folder (default: {STORE_VARIABLE}, else the user's)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_base_arguments(parser)
    return parser


def _parts(arguments: argparse.Namespace) -> list[NamedAdapter]:
    """Read the parts, in the order in which they are added. Raises SsvdError for what cannot be blended."""
    store = AdapterStore(arguments.store)
    parts = [read_adapter(text, store, weighted=True) for text in arguments.parts]
    if len(parts) > MAX_PARTS:
        raise BlendError(f"a blend of {len(parts)} parts; the most is {MAX_PARTS}")
    if len({part.sha256 for part in parts}) < len(parts):
        raise BlendError("two parts are the same adapter: name it once, with the sum of the weights")
    for part in parts:
        if arguments.fit is not None and part.weight is not None:
            raise BlendError(f"{part.name}*{part.weight:g}: --fit finds the weights, leave them out")
        if arguments.fit is None and part.weight is None:
            raise BlendError(f"{part.name} has no weight: {part.name}*0.8, or --fit DATA to find the weights")
    check_one_base(parts)
    return sorted(parts, key=lambda part: part.sha256)


def _blend(arguments: argparse.Namespace, parts: Sequence[NamedAdapter], report: Report) -> dict[str, Any]:
    """Make the file and return the result."""
    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.canary import seal_adapter
    from ssvd_asr.base.load import load_base
    from ssvd_asr.basis.cache import factorize

    base = load_base(arguments.base, arguments.device, "float32", arguments.config, arguments.checkpoint)
    factors = factorize(base)
    blending = Blending(base, factors, parts)
    adapted = adapt(base.network, factors, rank=max(blending.adapters[0].spans.values()))
    fit = _fit(arguments, blending, adapted, report)
    weights = [part.weight or 0.0 for part in parts] if fit is None else fit.weights
    blended = blending.at(weights)
    told = [
        {"name": part.name, "weight": weight, "sha256": part.sha256, **part.origin}
        for part, weight in zip(parts, weights, strict=True)
        if weight
    ]
    training = [part.metadata.training for part, weight in zip(parts, weights, strict=True) if weight]
    summary: dict[str, Any] = {
        "language": arguments.language,
        "blend": [{**each, "training": of} for each, of in zip(told, training, strict=True)],
    }
    if fit is not None:
        summary |= fit.as_json() | _scores(arguments, base, adapted, blended)
    sealed = seal_adapter(
        arguments.out, blended, adapted, base, factors, training=summary, dtype=blending.dtype
    )
    del summary["blend"]
    return {
        "adapter": str(arguments.out),
        "sha256": sealed.sha256,
        "base": base.name,
        "base_digest": base.digest,
        "parts": told,
        **summary,
    }


def _fit(
    arguments: argparse.Namespace, blending: Blending, adapted: AdaptedModel, report: Report
) -> Fit | None:
    """Return the weights that the validation data choose; None where they are given."""
    if arguments.fit is None:
        return None

    def wer_at(weights: Weights) -> float:
        blended = blending.at(weights) if any(weights) else None
        return _score(arguments, blending.base, adapted, blended).score.wer

    return fit_weights(wer_at, len(blending.names), report)


def _scores(
    arguments: argparse.Namespace, base: BaseModel, adapted: AdaptedModel, blended: Adapter
) -> dict[str, Any]:
    """Return the WER of base and blend on the data of the fit, as `ssvd train` tells it."""
    before, after = (_score(arguments, base, adapted, each) for each in (None, blended))
    return {
        "evaluated_on": "valid",
        "evaluated_utterances": after.score.utterances,
        "evaluated_audio_s": round(after.audio_s, 3),
        "wer_before": before.score.wer,
        "wer_after": after.score.wer,
    }


def _score(
    arguments: argparse.Namespace, base: BaseModel, adapted: AdaptedModel, adapter: Adapter | None
) -> Evaluation:
    import torch

    with torch.no_grad():
        cores = None if adapter is None else adapter.cores(base.dtype)
    return evaluate(base, arguments.fit, adapted=adapted, cores=cores, language=arguments.language)
