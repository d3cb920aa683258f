"""`ssvd transcribe FILE...`: transcribes files with the server's engine, without HTTP."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.engine.each_channel import submit_recording
from server.engine.engine import Engine
from server.engine.messages import Reply, Request
from server.engine.start import start_engine
from server.languages import language_symbol
from server.options import add_model_options
from server.settings import ServerSettings, load_settings
from server.transcript_files import FORMATS, TranscriptFormat, entry, targets, written
from ssvd_asr.audio.read import Channel, parse_channel, read_recording
from ssvd_asr.decoding.options import METHODS
from ssvd_asr.errors import ChannelError, SsvdError


def main(argv: list[str]) -> int:
    """Print or write the text of each file. Return 1 if the engine cannot start or a file is refused."""
    args = _arguments(argv)
    as_json: bool = args.json
    results: list[dict[str, Any]] = []
    refused: str | None = None
    try:
        places = _places(args)
        _check_search(args)
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
                result = _transcribe(engine, settings, path, args, places)
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


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.format not in (None, "txt") and args.out is None and (len(args.files) > 1 or args.json):
        parser.error(f"--format {args.format} of several files, or beside --json, needs --out FOLDER")
    return args


def _channel(text: str) -> Channel:
    try:
        return parse_channel(text)
    except ChannelError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _places(args: argparse.Namespace) -> Mapping[Path, Path]:
    """Return where each file's transcript is written; nothing without --out. Raises as `targets` does."""
    if args.out is None:
        return {}
    return targets(args.files, args.out, args.format or "txt", overwrite=args.overwrite)


def _check_search(args: argparse.Namespace) -> None:
    """Raise SsvdError for options of a beam search that the search asked for would ignore."""
    if args.search in ("greedy", "ctc") and (args.beam_size is not None or args.ctc_weight is not None):
        raise SsvdError(f"--search {args.search} follows no beam: leave --beam-size and --ctc-weight out")


def _transcribe(
    engine: Engine,
    settings: ServerSettings,
    path: Path,
    args: argparse.Namespace,
    places: Mapping[Path, Path],
) -> dict[str, Any]:
    """Return one file's entry: text and provenance, or an error. Write its transcript, if it has a place.

    `shown` is what is printed for people: the transcript in the format asked for, or where it was written.
    """
    kind: TranscriptFormat = args.format or "txt"
    try:
        recording = read_recording(path, settings.audio_limits, channel=args.channel)
        request = Request(
            wave=recording.waves[0],
            domain=args.domain,
            language=language_symbol(args.language or settings.language),
            timestamps=kind != "txt",
        )
        reply = submit_recording(engine, recording, request).result()
        return entry(path, reply) | {"shown": _put(path, reply, kind, places)}
    except (SsvdError, OSError) as error:
        return {"file": str(path), "error": str(error)}


def _put(path: Path, reply: Reply, kind: TranscriptFormat, places: Mapping[Path, Path]) -> str:
    """Write a transcript to its place and return the place, or return the transcript itself."""
    text = written(path, reply, kind)
    place = places.get(path)
    if place is None:
        return text.rstrip("\n")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return str(place)


def _document(results: list[dict[str, Any]], refused: str | None) -> dict[str, Any]:
    """Return the object printed for --json: one file's fields, a list of files, or an error."""
    if refused is not None:
        return {"error": refused}
    results = [{name: value for name, value in each.items() if name != "shown"} for each in results]
    return results[0] if len(results) == 1 else {"files": results}


def _print_line(result: dict[str, Any], *, several: bool) -> None:
    prefix = f"{result['file']}: " if several else ""
    if "error" in result:
        print(f"ssvd transcribe: {prefix}{result['error']}", file=sys.stderr)
    else:
        print(f"{prefix}{result['shown']}", flush=True)
        for warning in result["warnings"]:
            print(f"ssvd transcribe: {prefix}{warning}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ssvd transcribe",
        description="Transcribe audio files of any format and length, through the server's own engine.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--domain", help="child, child@2 or child@sha256:<digest>; left out: the base")
    parser.add_argument("--language", help="ISO 639-1 or 639-3 code")
    parser.add_argument(
        "--channel",
        type=_channel,
        default="mix",
        help="the number of one channel, from 0; mix (default); or each, transcribed apart",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--format", choices=FORMATS, help="of what is printed or written (txt); several files need --out"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write FOLDER/<name>.<format> for each file"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace transcripts that FOLDER has already"
    )
    parser.add_argument(
        "--search",
        choices=METHODS,
        help="default checked: greedy, and a beam search where CTC doubts",
    )
    parser.add_argument("--beam-size", type=int, help="hypotheses that a beam search follows for each piece")
    parser.add_argument("--ctc-weight", type=float, help="weight of the CTC score in a beam search, below 1")
    add_model_options(parser)
    return parser
