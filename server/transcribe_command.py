"""`ssvd transcribe FILE...`: transcribes files with the server's engine, without HTTP."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from server.engine.engine import Engine
from server.engine.messages import Provenance, Request
from server.engine.start import start_engine
from server.languages import language_symbol
from server.options import add_model_options
from server.settings import ServerSettings, load_settings
from ssvd_asr.audio.read import read_audio
from ssvd_asr.decoding.options import METHODS
from ssvd_asr.errors import SsvdError


def main(argv: list[str]) -> int:
    """Print the text of each file. Return 1 if the engine cannot start or a file is refused."""
    args = _parser().parse_args(argv)
    as_json: bool = args.json
    results: list[dict[str, Any]] = []
    refused: str | None = None
    try:
        settings = load_settings(
            base=args.base,
            device=args.device,
            dtype=args.dtype,
            store=args.store,
            search=args.search,
            beam_size=args.beam_size,
            ctc_weight=args.ctc_weight,
        )
        engine = start_engine(settings)
    except SsvdError as error:
        refused = str(error)
    else:
        try:
            for path in args.files:
                result = _transcribe(engine, settings, path, args.domain, args.language)
                results.append(result)
                if not as_json:
                    _print_line(result, several=len(args.files) > 1)
        finally:
            engine.close(settings.drain_timeout_s)
    if as_json:
        print(json.dumps(_document(results, refused), ensure_ascii=False))
    elif refused is not None:
        print(f"ssvd transcribe: {refused}", file=sys.stderr)
    return 1 if refused is not None or any("error" in result for result in results) else 0


def _transcribe(
    engine: Engine, settings: ServerSettings, path: Path, domain: str | None, language: str | None
) -> dict[str, Any]:
    """Return one file's entry: text and provenance, or an error."""
    try:
        request = Request(
            wave=read_audio(path, settings.audio_limits),
            domain=domain,
            language=language_symbol(language or settings.language),
        )
        reply = engine.submit(request).result()
    except SsvdError as error:
        return {"file": str(path), "error": str(error)}
    return {
        "file": str(path),
        "text": reply.text,
        "duration_s": round(reply.duration_s, 3),
        **_provenance(reply.provenance),
    }


def _provenance(made_by: Provenance) -> dict[str, Any]:
    """Return the fields of the HTTP reply's `ssvd`, and `adapter`: a reference pinned to the digest."""
    adapter = None if made_by.domain is None else f"{made_by.domain}@sha256:{made_by.adapter_sha256}"
    return {**asdict(made_by), "adapter": adapter}


def _document(results: list[dict[str, Any]], refused: str | None) -> dict[str, Any]:
    """Return the object printed for --json: one file's fields, a list of files, or an error."""
    if refused is not None:
        return {"error": refused}
    return results[0] if len(results) == 1 else {"files": results}


def _print_line(result: dict[str, Any], *, several: bool) -> None:
    prefix = f"{result['file']}: " if several else ""
    if "error" in result:
        print(f"ssvd transcribe: {prefix}{result['error']}", file=sys.stderr)
    else:
        print(f"{prefix}{result['text']}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ssvd transcribe",
        description="Transcribe audio files of any format and length, through the server's own engine.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--domain", help="child, child@2 or child@sha256:<digest>; left out: the base")
    parser.add_argument("--language", help="ISO 639-1 or 639-3 code")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--search",
        choices=METHODS,
        help="default checked: greedy, and a beam search where CTC doubts",
    )
    parser.add_argument("--beam-size", type=int, help="hypotheses that a beam search follows for each piece")
    parser.add_argument("--ctc-weight", type=float, help="weight of the CTC score in a beam search, below 1")
    add_model_options(parser)
    return parser
