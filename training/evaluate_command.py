"""`ssvd evaluate`: word error rate of a base, a domain or an adapter file on a manifest."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_store.blends import is_blend
from adapters_store.places import place_of
from ssvd_asr.decoding.options import METHODS
from ssvd_asr.device import DTYPES
from ssvd_asr.errors import DataError
from ssvd_asr.manifests.read import check_source
from ssvd_asr.output_paths import check_output_file
from ssvd_asr.parser import CommandParser
from training.arguments import add_base_arguments, count, min_usable
from training.evaluate import EVALUATION_BATCH, Evaluation, evaluate

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    _check_paths(arguments)
    from ssvd_asr.base.load import load_base

    base = load_base(
        arguments.base, arguments.device, arguments.dtype, arguments.config, arguments.checkpoint
    )
    from ssvd_asr.decoding.options import DecodingOptions

    search = DecodingOptions(arguments.search).of(base)
    options, provenance = _adapter(arguments, base)
    found = evaluate(
        base,
        arguments.data,
        language=arguments.language,
        min_usable=arguments.min_usable,
        batch_size=arguments.batch,
        options=search,
        **options,
    )
    print(found.report.summary(), file=sys.stderr)
    result = {
        **found.as_json(),
        "search": search.method,
        "data": str(arguments.data),
        "base": base.name,
        "base_digest": base.digest,
        **provenance,
        "device": str(base.device),
        "dtype": str(base.dtype).removeprefix("torch."),
    }
    print(json.dumps(result) if arguments.json else _table(found, result))
    if arguments.hypotheses is not None:  # last: a full disk costs no figures
        found.write_hypotheses(arguments.hypotheses)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="ssvd evaluate",
        description="Decode a manifest in the model's full window and score it.",
    )
    parser.add_argument("--data", required=True, type=Path, help="data as `ssvd train` takes them")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--domain", help="name, name@version, name@sha256:... or a blend as child*0.8+scottish*0.8"
    )
    what.add_argument("--adapter", type=Path, help="an adapter file")
    what.add_argument("--weights", type=Path, help="weights of `ssvd train --method full`")
    parser.add_argument("--store", type=place_of, help="the store's folder (default: the user's)")
    parser.add_argument("--hypotheses", type=Path, help="write id, ref and hyp as JSON lines")
    parser.add_argument("--batch", type=count, default=EVALUATION_BATCH, help="utterances decoded together")
    parser.add_argument(
        "--search",
        choices=METHODS,
        help="default checked: greedy, beam where CTC doubts; ctc for a base without a decoder",
    )
    parser.add_argument("--min-usable", type=min_usable, default=1, metavar="N", help="a count, or a share")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_base_arguments(parser)
    parser.add_argument("--dtype", choices=DTYPES, default="auto")
    return parser


def _check_paths(arguments: argparse.Namespace) -> None:
    """Raise SsvdError for data, adapters and folders that are not there, before the base is loaded."""
    from ssvd_asr.adapter.read import inspect_adapter

    check_source(arguments.data)
    if arguments.hypotheses is not None:
        check_output_file(arguments.hypotheses, "--hypotheses")
    if arguments.adapter is not None:
        inspect_adapter(arguments.adapter)
    if arguments.weights is not None and not arguments.weights.is_file():
        raise DataError(f"--weights {arguments.weights}: there is no such file")
    if arguments.domain is not None:
        from adapters_store.blends import pinned_domain
        from adapters_store.store import AdapterStore

        pinned_domain(arguments.domain, AdapterStore(arguments.store).resolve)


def _adapter(arguments: argparse.Namespace, base: BaseModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of `evaluate` for the model to score, and the result's fields that identify it."""
    nothing: dict[str, Any] = {
        "domain": None,
        "version": None,
        "adapter_sha256": None,
        "weights_sha256": None,
    }
    if arguments.weights is not None:
        from training.methods.finish import put_weights

        return {}, {**nothing, "weights_sha256": put_weights(base, arguments.weights)}
    path, provenance = arguments.adapter, dict(nothing)
    if arguments.domain is not None and is_blend(arguments.domain):
        return _blend(arguments, base, dict(nothing))
    if arguments.domain is not None:
        from adapters_store.store import AdapterStore

        version = AdapterStore(arguments.store).resolve(arguments.domain)
        path = version.file()
        provenance |= {"domain": version.name, "version": version.version}
    if path is None:
        return {}, provenance
    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.basis.cache import factorize

    factors = factorize(base)
    loaded = load_adapter(path, base, factors)
    adapted = adapt(base.network, factors, rank=max(loaded.adapter.spans.values()))
    cores = loaded.adapter.to(base.device).cores(base.dtype)
    return {"adapted": adapted, "cores": cores}, {**provenance, "adapter_sha256": loaded.sha256}


def _blend(
    arguments: argparse.Namespace, base: BaseModel, provenance: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `_adapter` does, for a blend of domains."""
    from adapters_store.blends import resolve_blend
    from adapters_store.store import AdapterStore
    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.basis.cache import factorize
    from training.blend_parts import Blending, read_version

    blend = resolve_blend(arguments.domain, AdapterStore(arguments.store).resolve)
    parts = [read_version(part.version) for part in blend.sorted_parts]
    factors = factorize(base)
    blended = Blending(base, factors, parts).at([part.weight for part in blend.sorted_parts])
    adapted = adapt(base.network, factors, rank=max(blended.spans.values()))
    provenance |= {"domain": blend.reference, "adapter_sha256": blend.sha256}
    return {"adapted": adapted, "cores": blended.cores(base.dtype)}, provenance


def _table(found: Evaluation, result: dict[str, Any]) -> str:
    score = found.score
    return (
        f"WER {score.wer:.2%} (raw {score.wer_raw:.2%}), CER {score.cer:.2%}: {score.utterances} utterances, "
        f"{score.reference_words} words, {found.audio_s:.0f} s of audio in {found.wall_s:.0f} s\n"
        f"base {result['base']} {result['base_digest']}, adapter {result['adapter_sha256'] or 'none'}"
    )
