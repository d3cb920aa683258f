"""How exact word times are, against espeak-ng's own word events: docs/results/true-out-times.json and .md.

    python -m recipes.espeak.times --data data/espeak --utterances 600

Each row decodes the first utterances of a domain's split by the default search, under the base or under the
packaged adapter, and compares the starts of those words that were understood.
"""

from __future__ import annotations

import argparse
import difflib
import json
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from adapters_store.packaged import PACKAGED, builtins
from recipes.espeak.speak import utterance
from recipes.espeak.word_events import word_starts_s
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factorize
from ssvd_asr.parser import CommandParser
from ssvd_asr.transcription import Transcript, transcribe

RESULTS = Path("docs/results")
NAME = "true-out-times"
DOMAINS = ("adult", "scottish", "child")
BATCH = 16  # utterances decoded together
CLOSE_MS = 100
COUNTS = ("words", "compared", "merged", "missed", "untimed")


@dataclass
class Comparison:
    """Starts of words, ours against espeak-ng's.

    errors_ms: ours minus espeak-ng's, of each word compared.
    merged: words that espeak-ng speaks together with another, without an event of their own.
    missed: words of the text that the transcript does not have.
    untimed: words that were understood and could not be aligned.
    """

    errors_ms: list[float] = field(default_factory=list)
    words: int = 0
    merged: int = 0
    missed: int = 0
    untimed: int = 0

    def add(self, text: str, starts_s: Sequence[float | None], transcript: Transcript) -> None:
        """Compare the words that the text and the transcript have in common, in order.

        A word that is said twice and was understood once, or the other way round, could be paired with
        either: it counts as missed.
        """
        said, found = text.split(), transcript.words
        self.words += len(said)
        common = {place: found[other] for place, other in _pairs(said, [word.word for word in found])}
        for place, start_s in enumerate(starts_s):
            if start_s is None:
                self.merged += 1
            elif place not in common:
                self.missed += 1
            elif (ours_s := common[place].start_s) is None:
                self.untimed += 1
            else:
                self.errors_ms.append(1000 * (ours_s - start_s))

    def as_json(self) -> dict[str, Any]:
        """Return the figures; `bias_removed` are those of errors less their median."""
        errors = np.array(self.errors_ms)
        bias = float(np.median(errors))
        return {
            "words": self.words,
            "compared": len(errors),
            "merged": self.merged,
            "missed": self.missed,
            "untimed": self.untimed,
            "bias_ms": round(bias, 1),
            **_spread(errors),
            "bias_removed": _spread(errors - bias),
        }


def _pairs(said: Sequence[str], found: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pair the places of equal words, run by run of one word; runs of different length have no pairs."""
    runs, others = _runs(said), _runs(found)
    matcher = difflib.SequenceMatcher(
        None, [said[r.start] for r in runs], [found[r.start] for r in others], False
    )
    for block in matcher.get_matching_blocks():
        for i in range(block.size):
            run, other = runs[block.a + i], others[block.b + i]
            if len(run) == len(other):
                yield from zip(run, other, strict=True)


def _runs(words: Sequence[str]) -> list[range]:
    """Return the stretches of places that hold one word."""
    starts = [place for place in range(len(words)) if place == 0 or words[place] != words[place - 1]]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(words)], strict=True)]


def _spread(errors_ms: Any) -> dict[str, float]:
    size = np.abs(errors_ms)
    return {
        "median_ms": round(float(np.median(size)), 1),
        "p95_ms": round(float(np.percentile(size, 95)), 1),
        "share_within_100_ms": round(float(np.mean(size <= CLOSE_MS)), 4),
    }


def measure(
    base: BaseModel, adapted: AdaptedModel, cores: Any, manifest: Path, domain: str, utterances: int
) -> dict[str, Any]:
    """Return the figures of one row."""
    lines = manifest.read_text(encoding="utf-8").splitlines()[:utterances]
    entries = [json.loads(line) for line in lines]
    found = Comparison()
    for batch in tqdm(list(_batches(entries)), desc=domain):
        waves = [read_audio(manifest.parent / entry["audio"]) for entry in batch]
        transcripts = transcribe(base, waves, adapted=adapted, cores=cores, word_times=True)
        for entry, transcript in zip(batch, transcripts, strict=True):
            _, split, index = entry["id"].rsplit("-", 2)
            _, speaker = utterance(domain, split, int(index))
            found.add(entry["text"], word_starts_s(entry["text"], domain, speaker), transcript)
    return {"utterances": len(entries), **found.as_json()}


def _batches(entries: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for first in range(0, len(entries), BATCH):
        yield entries[first : first + BATCH]


def rows(data: Path, split: str, utterances: int) -> dict[str, Any]:
    """Measure every domain under the base and under its packaged adapter."""
    base = load_base()
    factors = factorize(base)
    adapted = adapt(base.network, factors)
    packaged = builtins(PACKAGED)
    clock = base.clock(1)  # its shifts do not depend on the frames
    found: list[dict[str, Any]] = []
    for domain in DOMAINS:
        manifest = data / f"{domain}-{split}" / "manifest.jsonl"
        for version in [None, packaged.get(domain)]:
            if version is None and found and found[-1]["speech"] == domain:
                continue  # no adapter is packaged for it
            cores = None
            if version is not None:
                cores = load_adapter(version.path, base, factors).adapter.cores(base.dtype)
            row = measure(base, adapted, cores, manifest, domain, utterances)
            made_by = base.name if version is None else version.reference
            found.append(
                {"speech": domain, "under": "base" if version is None else domain, "by": made_by, **row}
            )
    return {
        "command": f"python -m recipes.espeak.times --split {split} --utterances {utterances}",
        "device": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "base": base.name,
        "base_digest": base.digest,
        "split": split,
        "start_shift_s": clock.start_shift_s,
        "end_shift_s": clock.end_shift_s,
        "rows": found,
    }


def page(found: dict[str, Any]) -> str:
    """Return the Markdown page of ``found``. Every figure in it comes from there."""
    lines = [
        "# Word times",
        "",
        f"Written by `{found['command']}` with {NAME}.json ({found['device']}, torch {found['torch']}).",
        "",
        "Starts of words by CTC forced alignment of the transcript, against espeak-ng's word events.",
        "Compared are the words that were understood. Words that espeak-ng speaks together with another have",
        f"no event and are left out. Base `{found['base']}`, {found['split']} sets; "
        f"{1000 * found['start_shift_s']:+.0f} ms are added to every start, a constant of the base.",
        "The bias is the median of ours minus espeak-ng's; `less bias` takes the row's own out of it.",
        "",
        "| speech | under | utterances | words | compared | merged | not understood | not aligned | bias, ms "
        "| median error, ms | less bias, ms | within 100 ms | less bias | p95, ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        less = row["bias_removed"]
        cells = [row[name] for name in ("speech", "under", "utterances", *COUNTS)]
        cells += [f"{row['bias_ms']:+.0f}", f"{row['median_ms']:.0f}", f"{less['median_ms']:.0f}"]
        cells += [f"{each['share_within_100_ms']:.1%}" for each in (row, less)]
        lines.append(f"| {' | '.join(map(str, [*cells, f'{row["p95_ms"]:.0f}']))} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Measure, print the page, and write it for the test split."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--utterances", type=int, default=600, help="of each domain")
    args = parser.parse_args(argv)
    found = rows(args.data, args.split, args.utterances)
    print(page(found))
    if args.split == "test":
        (RESULTS / f"{NAME}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (RESULTS / f"{NAME}.md").write_text(page(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
