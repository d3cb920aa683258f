"""Measures long recordings against their clips: docs/results/true-out-long.json and true-out-long.md.

    python -m recipes.espeak.long_recordings --data data/espeak

Each test set's clips are joined in every way of `joined.KINDS`. A recording is cut and decoded as before and
as now. The intervals are over utterances, drawn with replacement.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapters_store.packaged import PACKAGED, builtins
from recipes.espeak.joined import KINDS, Clip, FloatArray, Kind, Recording, noisy, phrases, record
from recipes.espeak.long_errors import Errors, clip_errors, compare, recording_errors
from recipes.espeak.long_page import line, table
from recipes.espeak.recording_decoder import Decoder
from recipes.espeak.window_cut import cut_windows
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.audio.segment import Span, find_spans
from ssvd_asr.audio.speech import high_voice_probabilities, speech_probabilities
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.options import CHECKED, GREEDY
from ssvd_asr.parser import CommandParser
from training.corpus.joining import faded, trimmed

RESULTS = Path("docs/results")
NAME = "true-out-long"
DOMAINS = ("adult", "child", "scottish")  # the base decodes adult speech, their adapters the others

Cut = Callable[[FloatArray], Sequence[Span]]


def cut_before(base: BaseModel, wave: FloatArray) -> list[Span]:
    """Cut as before this measurement: into windows, at silences if there are any."""
    window_samples = base.window.samples
    seen = speech_probabilities(wave)
    if len(wave) > window_samples or not (seen >= 0.3).any():
        seen = np.maximum(seen, high_voice_probabilities(wave))
    return cut_windows(seen, len(wave), window_samples)


def cut_now(base: BaseModel, wave: FloatArray) -> list[Span]:
    """Cut as the server does for owsm-nano."""
    return find_spans(wave, base.window.longest_piece_samples, context_samples=base.window.context_samples)


def measure(
    decoder: Decoder,
    recordings: Sequence[Recording],
    cut: Cut,
    references: Mapping[str, Mapping[str, Errors]],
) -> dict[str, Any]:
    """Cut and decode recordings; seconds of the processor are of this process, so of one thread.

    references: errors of the clips one by one, by what is added to the names of the comparison's fields.
    """
    began = time.process_time()
    spans = [list(cut(recording.wave)) for recording in recordings]
    cut_s = time.process_time() - began
    began = time.process_time()
    texts = decoder.recording_texts(recordings, spans)
    decode_s = time.process_time() - began
    errors: dict[str, Errors] = {}
    for recording, text in zip(recordings, texts, strict=True):
        errors |= recording_errors(recording, text)
    audio_s = sum(len(recording.wave) for recording in recordings) / SAMPLE_RATE
    return {
        **{
            f"{name}{suffix}": value
            for suffix, clips in references.items()
            for name, value in compare(errors, clips).items()
            if suffix == "" or name != "wer"
        },
        "pieces": sum(len(found) for found in spans),
        "cut_time_factor": cut_s / audio_s,
        "real_time_factor": (cut_s + decode_s) / audio_s,
    }


def rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure every domain and kind that was asked for, one row each."""
    if arguments.jobs == 1:
        for domain in arguments.domains:
            yield from domain_rows(arguments, domain)
        return
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for found in pool.map(_listed, repeat(arguments), arguments.domains):
            yield from found


def _listed(arguments: argparse.Namespace, domain: str) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    return list(domain_rows(arguments, domain))


def domain_rows(arguments: argparse.Namespace, domain: str) -> Iterator[dict[str, Any]]:
    """Measure one domain, one row for each kind."""
    base = load_base()
    factors = factorize(base)
    adapted = adapt(base.network, factors)
    given = dict(arguments.adapter)
    clips = read_clips(arguments.data / f"{domain}-{arguments.split}", arguments.utterances)
    path = given.get(domain) or (builtins(PACKAGED)[domain].path if domain in builtins(PACKAGED) else None)
    cores = load_adapter(path, base, factors).adapter.cores(base.dtype) if path else None
    before, now = (Decoder(base, adapted, cores, options) for options in (GREEDY, CHECKED))
    ways = {"before": (before, cut_before), "after": (now, cut_now)}
    ways = {way: ways[way] for way in arguments.ways}

    @cache
    def alone(kind: Kind, shape: Callable[[FloatArray], FloatArray]) -> Mapping[str, Errors]:
        return clip_errors(clips, _texts(now, _alone(clips, kind, shape)))

    for name in arguments.kinds:
        kind = KINDS[name]
        recordings = list(record(kind, clips))
        if not recordings:
            raise SystemExit(f"{len(clips)} utterances make no recording of kind {name}: give more")
        # Kinds that do not change the clips themselves share their errors.
        same = kind if kind.noise or kind.inner else KINDS["apart"]
        references = {"": alone(same, _whole), "_cut": alone(same, _cut_ends)}
        yield {
            "domain": domain,
            "kind": name,
            "utterances": sum(len(recording.clips) for recording in recordings),
            "recordings": len(recordings),
            "audio_s": round(sum(len(each.wave) for each in recordings) / SAMPLE_RATE, 1),
            **{
                way: measure(decoder, recordings, partial(cut, base), references)
                for way, (decoder, cut) in ways.items()
            },
        }


def _whole(wave: FloatArray) -> FloatArray:
    return wave


def _cut_ends(wave: FloatArray) -> FloatArray:
    """Return the wave as it stands in a recording, see `joined.record`."""
    return faded(trimmed(wave))


def _alone(
    clips: Sequence[Clip], kind: Kind, shape: Callable[[FloatArray], FloatArray]
) -> list[list[FloatArray]]:
    """Return the waves of each clip to decode one by one, as a kind has them: in phrases, in its noise.

    shape: is applied before the noise: nothing, or what joining does to each wave.
    """
    spoken = [phrases(clip) if kind.inner else [clip.wave] for clip in clips]
    shaped = [[shape(wave) for wave in waves] for waves in spoken]
    if not kind.noise:
        return shaped
    return [[noisy(wave, kind.noise, place) for wave in waves] for place, waves in enumerate(shaped)]


def _texts(decoder: Decoder, spoken: Sequence[Sequence[FloatArray]]) -> list[str]:
    texts = iter(decoder.texts([wave for waves in spoken for wave in waves]))
    return [" ".join(next(texts) for _ in waves) for waves in spoken]


def read_clips(corpus: Path, first: int | None) -> list[Clip]:
    """Read the first clips of a corpus."""
    lines = (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[:first]
    entries = [json.loads(line) for line in lines]
    return [Clip(entry["id"], entry["text"], read_audio(corpus / entry["audio"])) for entry in entries]


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that measures every row of the file, in however many runs that was done."""
    given = ["python -m recipes.espeak.long_recordings"]
    given += [] if arguments.utterances is None else [f"--utterances {arguments.utterances}"]
    given += [f"--ways {' '.join(arguments.ways)}"] if len(arguments.ways) == 1 else []
    given += [f"--adapter {domain} {file}" for domain, file in arguments.adapter]
    return " ".join(given)


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    return DOMAINS.index(row["domain"]), list(KINDS).index(row["kind"])


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results after every row. Rows of other domains and kinds stay in the file."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--utterances", type=int, help="the first of each set; left out, all")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=DOMAINS)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument(
        "--adapter",
        nargs=2,
        action="append",
        default=[],
        metavar=("DOMAIN", "FILE"),
        help="an adapter in place of the packaged one",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with a domain of its own")
    parser.add_argument("--ways", nargs="+", choices=["before", "after"], default=["before", "after"])
    parser.add_argument("--out", type=Path, default=RESULTS / f"{NAME}.json", help="the .md lies beside it")
    arguments = parser.parse_args(argv)
    asked = {(domain, kind) for domain in arguments.domains for kind in arguments.kinds}
    kept = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {"rows": []}
    found: dict[str, Any] = {
        "command": _command(arguments),
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "split": arguments.split,
        "adapters": {
            domain: "the given adapter" if domain in dict(arguments.adapter) else "its packaged adapter"
            for domain in DOMAINS
            if domain != "adult"
        },
        "rows": [row for row in kept["rows"] if (row["domain"], row["kind"]) not in asked],
    }
    torch.set_num_threads(1)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    earlier = {_place(row): row["before"] for row in kept["rows"] if "before" in row}
    for row in rows(arguments):
        if "before" not in row and _place(row) in earlier:
            row["before"] = earlier[_place(row)]  # of the code and the adapters of its time
        found["rows"] = sorted([*found["rows"], row], key=_place)
        print(line(row), flush=True)
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        arguments.out.with_suffix(".md").write_text(table(found, arguments.out.name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
