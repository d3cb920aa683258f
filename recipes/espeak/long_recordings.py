"""Measures long recordings against their clips: docs/results/true-out-long.json and true-out-long.md.

    python -m recipes.espeak.long_recordings --data data/espeak

Each test set's clips are joined in every way of `joined.KINDS`. A recording is cut as before and as now, and
its pieces are decoded by one search. The intervals are over utterances, drawn with replacement.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch

from adapters_store.packaged import PACKAGED, builtins
from recipes.espeak.joined import KINDS, Clip, FloatArray, Recording, record
from recipes.espeak.window_cut import cut_windows
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.audio.segment import Span, find_spans, high_voice_probabilities, speech_probabilities
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.options import CHECKED, GREEDY, DecodingOptions
from ssvd_asr.decoding.overlap import own_words
from ssvd_asr.scoring import normalise
from ssvd_asr.transcription import transcribe

RESULTS = Path("docs/results")
DOMAINS = ("adult", "child", "scottish")  # the base decodes adult speech, their adapters the others
SEARCHES: Mapping[str, DecodingOptions] = {
    "checked": CHECKED,
    "beam": DecodingOptions("beam"),
    "greedy": GREEDY,
}
BATCH = 16
DRAWS = 2000

Cut = Callable[[FloatArray], Sequence[Span]]


@dataclass(frozen=True)
class Errors:
    """Wrong words of an utterance, and how many it has."""

    wrong: int
    words: int


@dataclass(frozen=True)
class Decoder:
    """A base with one domain's cores, and how it searches."""

    base: BaseModel
    adapted: AdaptedModel
    cores: Mapping[str, torch.Tensor] | None
    options: DecodingOptions

    def texts(self, waves: Sequence[FloatArray], own: Sequence[Span | None]) -> list[str]:
        """Decode pieces; `own` is the span of each, for those that hold some of their neighbours' speech."""
        order = sorted(range(len(waves)), key=lambda index: -len(waves[index]))
        texts = [""] * len(waves)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            found = transcribe(
                self.base,
                [waves[row] for row in rows],
                adapted=self.adapted,
                cores=self.cores,
                options=self.options,
                word_times=[_overlaps(own[row]) for row in rows],
            )
            for row, transcript in zip(rows, found, strict=True):
                span = own[row]
                if span is None or not _overlaps(span):
                    texts[row] = transcript.text
                    continue
                from_s, to_s = span.before / SAMPLE_RATE, (span.before + len(span)) / SAMPLE_RATE
                words = own_words(
                    transcript.words, from_s if span.before else None, to_s if span.after else None
                )
                texts[row] = " ".join(word.word for word in words)
        return texts


def _overlaps(span: Span | None) -> bool:
    return span is not None and bool(span.before or span.after)


def cut_before(wave: FloatArray, window_samples: int) -> list[Span]:
    """Cut as before this measurement."""
    seen = speech_probabilities(wave)
    if len(wave) > window_samples or not (seen >= 0.3).any():
        seen = np.maximum(seen, high_voice_probabilities(wave))
    return cut_windows(seen, len(wave), window_samples)


def clip_errors(clips: Sequence[Clip], texts: Sequence[str]) -> dict[str, Errors]:
    """The errors of clips decoded one by one, by their name."""
    found: dict[str, Errors] = {}
    for clip, text in zip(clips, texts, strict=True):
        said = jiwer.process_words(normalise(clip.text), normalise(text))
        wrong = said.substitutions + said.deletions + said.insertions
        found[clip.name] = Errors(wrong, len(normalise(clip.text).split()))
    return found


def recording_errors(recording: Recording, text: str) -> dict[str, Errors]:
    """The errors of a recording's text, each put down to the clip in whose words it falls."""
    clips = [normalise(clip.text).split() for clip in recording.clips]
    owner = [index for index, words in enumerate(clips) for _ in words]
    wrong = [0] * len(clips)
    said = jiwer.process_words(" ".join(" ".join(words) for words in clips), normalise(text))
    for chunk in said.alignments[0]:
        if chunk.type == "insert":
            wrong[owner[min(chunk.ref_start_idx, len(owner) - 1)]] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for place in range(chunk.ref_start_idx, chunk.ref_end_idx):
                wrong[owner[place]] += 1
    return {
        clip.name: Errors(count, len(words))
        for clip, count, words in zip(recording.clips, wrong, clips, strict=True)
    }


def compare(ours: Mapping[str, Errors], clips: Mapping[str, Errors], seed: int = 0) -> dict[str, float]:
    """WER of recordings and of the same clips one by one, and their difference with its 95 % interval."""
    names = sorted(ours)
    more = np.array([ours[name].wrong - clips[name].wrong for name in names])
    words = np.array([ours[name].words for name in names])
    drawn = np.random.default_rng(seed).integers(len(names), size=(DRAWS, len(names)))
    low, high = np.percentile(more[drawn].sum(axis=1) / words[drawn].sum(axis=1), [2.5, 97.5])
    total = int(words.sum())
    return {
        "wer": sum(ours[name].wrong for name in names) / total,
        "wer_clips": sum(clips[name].wrong for name in names) / total,
        "difference": float(more.sum() / total),
        "low": float(low),
        "high": float(high),
    }


def measure(
    decoder: Decoder, recordings: Sequence[Recording], cut: Cut, clips: Mapping[str, Errors]
) -> dict[str, Any]:
    """Cut and decode recordings; seconds of the processor are of this process, so of one thread."""
    began = time.process_time()
    spans = [list(cut(recording.wave)) for recording in recordings]
    cut_s = time.process_time() - began
    waves = [
        recording.wave[span.start - span.before : span.stop + span.after]
        for recording, found in zip(recordings, spans, strict=True)
        for span in found
    ]
    began = time.process_time()
    texts = iter(decoder.texts(waves, [span for found in spans for span in found]))
    decode_s = time.process_time() - began
    errors: dict[str, Errors] = {}
    for recording, found in zip(recordings, spans, strict=True):
        text = " ".join(text for text in (next(texts) for _ in found) if text)
        errors |= recording_errors(recording, text)
    audio_s = sum(len(recording.wave) for recording in recordings) / SAMPLE_RATE
    return {
        **compare(errors, clips),
        "pieces": len(waves),
        "cut_time_factor": cut_s / audio_s,
        "real_time_factor": (cut_s + decode_s) / audio_s,
    }


def rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure every search, domain and kind that was asked for, one row each."""
    base = load_base()
    factors = factorize(base)
    adapted = adapt(base.network, factors)
    config = base.config
    ways: Mapping[str, Cut] = {
        "before": lambda wave: cut_before(wave, config.window_samples),
        "after": lambda wave: find_spans(
            wave, config.longest_piece_samples, context_samples=config.piece_context_samples
        ),
    }
    for domain in arguments.domains:
        clips = read_clips(arguments.data / f"{domain}-{arguments.split}", arguments.utterances)
        version = builtins(PACKAGED).get(domain)
        cores = None
        if version is not None:
            cores = load_adapter(version.path, base, factors).adapter.cores(base.dtype)
        singly = {
            search: clip_errors(
                clips,
                Decoder(base, adapted, cores, SEARCHES[search]).texts(
                    [clip.wave for clip in clips], [None] * len(clips)
                ),
            )
            for search in arguments.searches
        }
        for kind in arguments.kinds:
            recordings = list(record(KINDS[kind], clips))
            for search in arguments.searches:
                decoder = Decoder(base, adapted, cores, SEARCHES[search])
                yield {
                    "domain": domain,
                    "kind": kind,
                    "search": search,
                    "utterances": sum(len(recording.clips) for recording in recordings),
                    "recordings": len(recordings),
                    "audio_s": round(sum(len(each.wave) for each in recordings) / SAMPLE_RATE, 1),
                    **{
                        name: measure(decoder, recordings, ways[name], singly[search])
                        for name in arguments.ways
                    },
                }


def read_clips(corpus: Path, first: int | None) -> list[Clip]:
    """Read the first clips of a corpus."""
    lines = (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[:first]
    entries = [json.loads(line) for line in lines]
    return [Clip(entry["id"], entry["text"], read_audio(corpus / entry["audio"])) for entry in entries]


def table(found: Mapping[str, Any]) -> str:
    """Return the Markdown page of the results. Every figure in it comes from there."""
    lines = [
        "# Long recordings and their parts",
        "",
        f"Written by `{found['command']}` with true-out-long.json ({found['device']}, "
        f"torch {found['torch']}, one thread).",
        "WER in %. The difference is to the same clips decoded one by one, with its 95 % interval over",
        "utterances. The factor is seconds of the processor for a second of audio, cutting included.",
        "adult is the base; child and scottish have their packaged adapters.",
        "",
        *(f"- `{name}`: {kind.about}" for name, kind in KINDS.items()),
    ]
    for search in dict.fromkeys(row["search"] for row in found["rows"]):
        lines += [
            "",
            f"## Search: {search}",
            "",
            "| domain | kind | utterances | clip by clip | before | now | difference | interval "
            "| factor before | factor now |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for row in found["rows"]:
            if row["search"] == search:
                lines.append(_line(row))
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    before, after = row.get("before"), row["after"]
    cells = [
        row["domain"],
        row["kind"],
        row["utterances"],
        f"{100 * after['wer_clips']:.1f}",
        f"{100 * before['wer']:.1f}" if before else "",
        f"{100 * after['wer']:.1f}",
        f"{100 * after['difference']:+.1f}",
        f"{100 * after['low']:+.1f} to {100 * after['high']:+.1f}",
        f"{before['real_time_factor']:.3f}" if before else "",
        f"{after['real_time_factor']:.3f}",
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the results after every row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--utterances", type=int, help="the first of each set; left out, all")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=DOMAINS)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--searches", nargs="+", choices=list(SEARCHES), default=["checked"])
    parser.add_argument("--ways", nargs="+", choices=["before", "after"], default=["before", "after"])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    given = "" if arguments.utterances is None else f" --utterances {arguments.utterances}"
    found: dict[str, Any] = {
        "command": f"python -m recipes.espeak.long_recordings{given} --kinds {' '.join(arguments.kinds)}",
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "split": arguments.split,
        "searches": arguments.searches,
        "rows": [],
    }
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for row in rows(arguments):
        found["rows"].append(row)
        print(_line(row), flush=True)
        text = json.dumps(found, indent=1) + "\n"
        (arguments.out / "true-out-long.json").write_text(text, encoding="utf-8")
        (arguments.out / "true-out-long.md").write_text(table(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
