"""`ssvd transcribe INPUT...`: transcribes recordings with the server's engine, without HTTP.

Options, paths, the domain and earlier transcripts are checked before the model is loaded.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from adapters_store.blends import pinned_domain
from server.auto.wish import wish_of
from server.engine.start import open_store, start_engine
from server.languages import is_auto
from server.options import add_model_options
from server.recordings import Found, Recording, Refusal, find_recordings
from server.settings import ServerSettings, load_settings
from server.transcribing import Plan, Result, Transcribing
from server.transcript_files import FORMATS, TranscriptFormat, targets
from server.transcript_record import TranscriptRecord
from ssvd_asr.audio.read import Channel, parse_channel
from ssvd_asr.console import json_line
from ssvd_asr.decoding.keywords import distinct_keywords
from ssvd_asr.decoding.options import METHODS
from ssvd_asr.errors import ChannelError, SsvdError
from ssvd_asr.languages import language_symbol, supported_language
from ssvd_asr.parser import CommandParser
from ssvd_asr.progress import say


def main(argv: list[str]) -> int:
    """Print or write the text of each recording.

    Return 1 if the engine cannot start, a recording is refused or a transcript cannot be written.
    """
    args = _parser().parse_args(argv)
    as_json: bool = args.json
    results: dict[Recording | Refusal, Result] = {}
    items: tuple[Recording | Refusal, ...] = ()
    refused: str | None = None
    try:
        settings = _settings(args)
        found = find_recordings(args.inputs)
        plan = _plan(args, settings, found)
        items = found.items
        results |= {each: {"file": each.name, "error": each.reason} for each in found.refusals}
        results |= {each: {"file": each.name, "done": str(plan.places[each])} for each in plan.done}
        if not as_json:
            _tell(found, plan)
        if plan.to_do:
            _run(plan, settings, found, results, as_json=as_json)
    except SsvdError as error:
        refused = str(error)
    if as_json:
        document = _document([results[each] for each in items if each in results], refused)
        print(json_line(json.dumps(document, ensure_ascii=False)))
    elif refused is not None:
        print(f"ssvd transcribe: {refused}", file=sys.stderr)
    return 1 if refused is not None or any("error" in each for each in results.values()) else 0


def _channel(text: str) -> Channel:
    try:
        return parse_channel(text)
    except ChannelError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _settings(args: argparse.Namespace) -> ServerSettings:
    """Return the settings. Raises SsvdError, also for options of a beam that the search would ignore."""
    if args.search in ("greedy", "ctc") and (args.beam_size is not None or args.ctc_weight is not None):
        raise SsvdError(f"--search {args.search} follows no beam: leave --beam-size and --ctc-weight out")
    return load_settings(
        base=args.base,
        device=args.device,
        dtype=args.dtype,
        store=args.store,
        search=args.search,
        beam_size=args.beam_size,
        ctc_weight=args.ctc_weight,
    )


def _plan(args: argparse.Namespace, settings: ServerSettings, found: Found) -> Plan:
    """Return what is to do. Raises SsvdError for an unknown domain, or a transcript in the way."""
    several = len(found.items) > 1
    if args.format not in (None, "txt") and args.out is None and (several or args.json):
        raise SsvdError(f"--format {args.format} of several files, or beside --json, needs --out FOLDER")
    language = args.language or settings.language
    symbol = language if is_auto(language) else language_symbol(language)
    domain = None
    if args.domain is not None:  # one version for the whole run, whatever is published meanwhile
        domain = args.domain
        if wish_of(domain) is None:
            domain = pinned_domain(domain, open_store(settings).resolve)
    kind: TranscriptFormat = args.format or "txt"
    keywords = distinct_keywords(args.keyword)
    made_by = {
        "base": settings.base,
        "dtype": settings.dtype,
        "domain": domain,
        "language": symbol,
        "channel": args.channel,
        "format": kind,
        "times": settings.times,
        "search": [
            settings.search or "default",
            settings.beam_size,
            settings.ctc_weight,
            settings.doubt_nats,
        ],
        "compressed_rank": settings.compressed_rank,
        # None, as with records of before there were any.
        "keywords": [*sorted(keywords), settings.keyword_nats] if keywords else None,
    }
    recordings = found.recordings
    if args.out is None:
        return Plan(
            tuple(recordings), (), {}, None, kind, domain, language, settings.language, args.channel, keywords
        )
    places = targets(recordings, args.out, kind)
    record = TranscriptRecord.open(args.out, made_by)
    done = [each for each in recordings if not args.overwrite and record.is_done(each, places[each])]
    to_do = tuple(each for each in recordings if each not in set(done))
    return Plan(
        to_do, done, places, record, kind, domain, language, settings.language, args.channel, keywords
    )


def _run(
    plan: Plan,
    settings: ServerSettings,
    found: Found,
    results: dict[Recording | Refusal, Result],
    *,
    as_json: bool,
) -> None:
    """Start the engine, add each result to `results` and print it as soon as it is there."""
    several = len(found.items) > 1

    def show(bar: tqdm[Any], result: Result) -> None:
        if not as_json:
            _show(bar, result, several=several)

    engine = start_engine(settings)
    try:
        if not is_auto(plan.language):
            heard = engine.recogniser
            supported_language(plan.language, heard.languages, f"base {heard.name}")
        engine.recogniser.check_keywords(plan.keywords)
        work = Transcribing(engine, plan, settings.audio_limits)
        for recording, result in work.results(show, progress=several and not as_json):
            results[recording] = result
    finally:
        engine.close(settings.drain_timeout_s)


def _tell(found: Found, plan: Plan) -> None:
    """Print what is known before the model is loaded: what is refused, passed over or done already."""
    lines = [f"{each.name}: {each.reason}" for each in found.refusals]
    lines += found.notes
    if plan.done:
        lines.append(f"{len(plan.done)} of {len(found.recordings)} recordings are done already")
    for line in lines:
        print(f"ssvd transcribe: {line}", file=sys.stderr, flush=True)


def _document(results: list[Result], refused: str | None) -> dict[str, Any]:
    """Return the object printed for --json: one recording's fields, a list of them, or an error."""
    if refused is not None:
        return {"error": refused}
    entries = [
        {name: value for name, value in each.items() if name not in ("shown", "name")} for each in results
    ]
    return entries[0] if len(entries) == 1 else {"files": entries}


def _show(bar: tqdm[Any], result: Result, *, several: bool) -> None:
    prefix = f"{result['name']}: " if several else ""
    if "error" in result:
        say(bar, f"ssvd transcribe: {prefix}{result['error']}", error=True)
        return
    say(bar, f"{prefix}{result['shown']}")
    for warning in result["warnings"]:
        say(bar, f"ssvd transcribe: {prefix}{warning}", error=True)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="ssvd transcribe",
        description="Transcribe recordings of any format and length, through the server's own engine.",
        epilog="An input is an audio file, a folder of them, a pattern in quotes ('clips/**/*.wav'), a "
        "manifest or data folder as `ssvd train` takes (texts are not needed), or - for standard input.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder, pattern, manifest or -")
    parser.add_argument(
        "--domain",
        help="child, child@2, child@sha256:<digest>, child*0.8+scottish*0.8, or auto: the one that suits "
        "each recording; left out: the base",
    )
    parser.add_argument("--language", help="as en, eng, en-US, english or auto")
    parser.add_argument(
        "--channel",
        type=_channel,
        default="mix",
        help="the number of one channel, from 0; mix (default); or each, transcribed apart",
    )
    parser.add_argument(
        "--keyword",
        action="append",
        default=[],
        metavar="WORDS",
        help="a name or term that may be said; repeat it for others",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--format", choices=FORMATS, help="of what is printed or written (txt); several files need --out"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write FOLDER/<name>.<format> for each recording; the same command again goes on where it ended",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="transcribe again what FOLDER has already, and replace it"
    )
    parser.add_argument(
        "--search",
        choices=METHODS,
        help="default checked: greedy, and a beam search where CTC doubts; ctc for a base without a decoder",
    )
    parser.add_argument("--beam-size", type=int, help="hypotheses that a beam search follows for each piece")
    parser.add_argument("--ctc-weight", type=float, help="weight of the CTC score in a beam search, below 1")
    add_model_options(parser)
    return parser
