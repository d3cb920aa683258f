"""`ssvd base check`: what a checkpoint is, whether it loads, what adapting it takes, and what it hears."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvd_asr.errors import DataError
from ssvd_asr.languages import supported_language
from ssvd_asr.parser import CommandParser

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel

SHARES = (0.1, 0.4)  # p, the share of each layer's directions that an adapter turns
DOMAINS = (1, 10, 100)
_SHOWN = 12  # languages named in the text


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.clip is not None and not arguments.clip.is_file():
        raise DataError(f"--clip {arguments.clip}: there is no such file")
    from ssvd_asr.base.load import load_base

    began = time.perf_counter()
    base = load_base(arguments.base, device=arguments.device, dtype="float32")
    report = {**describe(base), "load_s": round(time.perf_counter() - began, 2)}
    if arguments.clip is not None:
        report["clip"] = hear(base, arguments.clip, arguments.language)
    print(json.dumps(report) if arguments.json else _text(report))
    return 0


def describe(base: BaseModel) -> dict[str, Any]:
    """Return what a base is, its linears by shape, and sizes of adapters and domains in float32."""
    from ssvd_asr.basis.layers import match_layers

    linears = match_layers(base.network, base.linears)
    shapes = [(layer.out_features, layer.in_features) for layer in linears.values()]
    parameters = sum(parameter.numel() for parameter in base.network.parameters())
    adapters = []
    for share in SHARES:
        ks = [int(share * min(shape)) for shape in shapes]
        core_bytes = 4 * sum(k * k for k in ks)
        adapters.append(
            {
                "p": share,
                "parameters": sum(k * (k - 1) // 2 + k for k in ks),
                "domain_bytes": {str(count): count * core_bytes for count in DOMAINS},
            }
        )
    return {
        "base": base.name,
        "family": base.family,
        "digest": base.digest,
        "device": str(base.device),
        "parameters": parameters,
        "bytes": 4 * parameters,
        "window_s": base.window.duration_s,
        "tokens": len(base.tokens),
        "languages": [symbol.strip("<>") for symbol in base.tokens.languages],
        "tasks": list(base.tokens.tasks),
        "knows_previous_text": base.knows_previous_text,
        "ctc_head": base.ctc_head is not None,
        "layers": len(linears),
        "shapes": {f"{rows} x {columns}": count for (rows, columns), count in Counter(shapes).most_common()},
        # The first directions of U and V beside each weight, for any number of domains.
        "basis_bytes": {
            str(share): 4 * sum(int(share * min(m, n)) * (m + n) for m, n in shapes) for share in SHARES
        },
        "adapters": adapters,
    }


def hear(base: BaseModel, path: Path, language: str | None) -> dict[str, Any]:
    """Return what the base hears in the first window of a file. Without a language it identifies one."""
    from ssvd_asr.audio.read import read_audio
    from ssvd_asr.base.prompt import IDENTIFIED
    from ssvd_asr.transcription import transcribe

    wave = read_audio(path)[: base.window.samples]
    asked = (
        IDENTIFIED if language is None else supported_language(language, base.tokens.languages, "the base")
    )
    began = time.perf_counter()
    (found,) = transcribe(base, [wave], language=asked)
    return {
        "file": str(path),
        "heard_s": round(len(wave) / base.window.sample_rate_hz, 2),
        "wall_s": round(time.perf_counter() - began, 2),
        "language": found.language.strip("<>"),
        "text": found.text,
        "search": found.search,
        "warnings": list(found.warnings),
    }


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="ssvd base", description=__doc__)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="load a checkpoint and tell what it is", description=__doc__)
    check.add_argument(
        "base", metavar="BASE", help="owsm-nano, a hub tag as openai/whisper-base, or a folder"
    )
    check.add_argument("--clip", type=Path, help="an audio file, of which the first window is transcribed")
    check.add_argument("--language", help="of the clip, as en or english (default: the base identifies it)")
    check.add_argument("--device", default="auto", help="auto, cpu or cuda")
    check.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    return parser


def _text(report: dict[str, Any]) -> str:
    named = report["languages"]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    lines = [
        f"{report['base']}: {report['family']}, {report['parameters']:,} parameters, {report['digest']}",
        f"loaded in {report['load_s']} s on {report['device']}: {_mb(report['bytes'])} in float32",
        f"window {report['window_s']:g} s, {report['tokens']:,} tokens, "
        f"{'a' if report['ctc_head'] else 'no'} CTC head, tasks {', '.join(report['tasks'][:_SHOWN])}",
        f"{len(named)} languages: {', '.join(named[:_SHOWN])}{more}",
        f"{report['layers']} linears to adapt: "
        + ", ".join(f"{count} of {shape}" for shape, count in report["shapes"].items()),
    ]
    for adapter in report["adapters"]:
        sizes = ", ".join(
            f"{n} domain{'s' * (n != '1')} {_mb(size)}" for n, size in adapter["domain_bytes"].items()
        )
        lines.append(
            f"p = {adapter['p']:.0%}: {adapter['parameters']:,} numbers in an adapter; in float32 "
            f"basis {_mb(report['basis_bytes'][str(adapter['p'])])}, {sizes}"
        )
    if "clip" in report:
        clip = report["clip"]
        lines.append(
            f"{clip['file']}: {clip['heard_s']} s in {clip['wall_s']} s, {clip['language']}, {clip['search']}"
        )
        lines.append(f"  {clip['text'] or '(no words)'}")
        lines += [f"  {warning}" for warning in clip["warnings"]]
    return "\n".join(lines)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
