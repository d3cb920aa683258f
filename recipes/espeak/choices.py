"""Automatic choice of a domain, measured on ten domains: children and adults in five accents.

Every utterance is decoded by the base, in its own domain, in the two domains that its voice points rank
first, and by one adapter that was trained on everything. What any setting of the server would have chosen is
then computed from the same words; a test holds the server's engine to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from adapters_store.packaged import PACKAGED
from adapters_store.voices import Voices
from recipes.espeak.speak import TEN
from recipes.espeak.ten_domains import HOME, LENGTHS, SHARED, UTTERANCES, corpus
from server.auto_options import AutoOptions
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.voices import VoiceRanking
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.voice import HEARD_S
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.hypothesis import Said
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.scoring import score
from ssvd_asr.transcription import Transcript, transcribe

NAME = "any-voice-auto"
BASE, OWN = "base", "own"
NEW = tuple(name for name in TEN if name not in HOME)  # those that have an adapter
RANKED = 2  # domains that are decoded beside the base
WEIGHTS = (0.0, 0.25, 0.5, 1.0)  # of CTC, tried
MARGINS = (0.0, 0.02, 0.05, 0.1)
SURE = (0.8, 0.9, 0.95, 0.98, 0.99)
TOLERATED = 0.001  # of WER on validation data, for decoding less
BATCH = 3  # utterances decoded together, of up to five rows each

Row = dict[str, Any]


class Bench:
    """The base, the eight adapters and the shared one in one stack."""

    def __init__(self, data: Path, adapters: Path) -> None:
        """`adapters`: folder of runs by name, as `ssvd train --out` leaves them."""
        self.data = data
        self.base = load_base()
        factors = factorize(self.base)
        self.adapted = adapt(self.base.network, factors)
        loaded = {
            name: load_adapter(adapters / name / "adapter.safetensors", self.base, factors)
            for name in (*NEW, SHARED)
        }
        self.sha256 = {name: each.sha256 for name, each in loaded.items()}
        with torch.no_grad():
            cores = {name: each.adapter.cores(self.base.dtype) for name, each in loaded.items()}
        sizes = {name: core.size(-1) for each in cores.values() for name, core in each.items()}
        self.stack = CoreStack(self.adapted.layers, len(cores) + 1, sizes)
        self.slots = {BASE: 0}
        for name, each in cores.items():
            self.slots[name] = len(self.slots)
            self.stack.write(self.slots[name], each)
        summaries = {name: loaded[name].metadata.voices for name in NEW}
        summaries[BASE] = Voices(Path("none"), PACKAGED).of_digest(self.base.digest)
        self.ranking = VoiceRanking({name: each for name, each in summaries.items() if each is not None})

    def rows(self, domain: str, split: str, length: str) -> Iterator[Row]:
        """Decode the utterances of a kind."""
        path = corpus(self.data, domain, split, length)
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        own = domain if domain in NEW else BASE
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            waves = [read_audio(path.parent / each["audio"]) for each in part]
            likely = []
            asked: list[tuple[int, str]] = []
            for place, wave in enumerate(waves):
                points = self.base.voice_points([wave]).double().numpy()
                found = self.ranking.posteriors(points, [min(HEARD_S, len(wave) / SAMPLE_RATE)])
                likely.append(found)
                ranked = [name for name in sorted(found, key=lambda name: -found[name]) if name != BASE]
                names = dict.fromkeys((BASE, own, *ranked[:RANKED], SHARED))
                asked += [(place, name) for name in names]
            said = transcribe(
                self.base,
                [waves[place] for place, _ in asked],
                adapted=self.adapted,
                stack=self.stack,
                rows=[self.slots[name] for _, name in asked],
            )
            for place, entry in enumerate(part):
                words = {
                    name: _figures(entry["text"], each)
                    for (at, name), each in zip(asked, said, strict=True)
                    if at == place
                }
                best = sorted(likely[place].items(), key=lambda each: -each[1])[: RANKED + 2]
                yield {
                    "domain": domain,
                    "own": own,
                    "length": length,
                    "likely": {name: round(value, 4) for name, value in best},
                    "said": words,
                }


def _figures(reference: str, found: Transcript) -> list[float]:
    """Return errors, words of the reference, tokens, and nats of the decoder and of CTC."""
    counted = score([reference], [found.text])
    assert found.said is not None
    return [
        counted.substitutions + counted.deletions + counted.insertions,
        counted.reference_words,
        found.said.tokens,
        round(found.said.attention_nats or 0.0, 4),
        round(found.said.ctc_nats or 0.0, 4),
    ]


def choice(row: Row, options: AutoOptions, *, fast: bool = False) -> tuple[str, bool]:
    """Return what the server chooses with these options, and whether it compares transcripts for it."""
    likely: Mapping[str, float] = row["likely"]
    best = max(likely, key=lambda name: likely[name])
    if fast or likely[best] >= options.sure:
        return best, False
    domains = [name for name in sorted(likely, key=lambda name: -likely[name]) if name != BASE]
    scores = {
        name: Said(int(tokens), attention, ctc).score(options.ctc_weight)
        for name, (_, _, tokens, attention, ctc) in row["said"].items()
        if name in (BASE, *domains[: options.decode])
    }
    found = max(scores, key=lambda name: scores[name])
    return (BASE if scores[found] - scores[BASE] <= options.margin else found), True


def wer(rows: Sequence[Row], options: AutoOptions | None, system: str) -> float:
    """Return the WER of `own`, `base`, `shared`, `auto` or `fast`."""
    errors = words = 0.0
    for row in rows:
        if system in (BASE, SHARED):
            name = system
        elif system == OWN:
            name = row["own"]
        else:
            assert options is not None
            name, _ = choice(row, options, fast=system == "fast")
        errors += row["said"][name][0]
        words += row["said"][name][1]
    return errors / words


def fit(rows: Sequence[Row]) -> AutoOptions:
    """Return the options with the fewest errors on validation data, then those that compare least."""
    never = [AutoOptions(RANKED, 2.0, margin, weight) for weight in WEIGHTS for margin in MARGINS]
    best = min(never, key=lambda options: (round(wer(rows, options, "auto"), 5), options.margin))
    at_most = wer(rows, best, "auto") + TOLERATED
    for sure in SURE:
        options = AutoOptions(RANKED, sure, best.margin, best.ctc_weight)
        if wer(rows, options, "auto") <= at_most:
            return options
    return best


def measure(data: Path, adapters: Path, results: Path) -> dict[str, Any]:
    """Decode what the file of results lacks, and return all of it."""
    bench = Bench(data, adapters)
    path = results / f"{NAME}.json"
    of = {"base_digest": bench.base.digest, "adapters": bench.sha256, "utterances": UTTERANCES}
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: dict[str, Any] = known if known.get("of") == of else {"of": of, "rows": {}}
    for split in ("valid", "test"):
        for length in reversed(LENGTHS):
            for domain in TEN:
                key = f"{split} | {length} | {domain}"
                if key not in found["rows"]:
                    found["rows"][key] = list(bench.rows(domain, split, length))
                    path.write_text(json.dumps(found) + "\n", encoding="utf-8")
                    print(key, flush=True)
    return found


def rows_of(found: Mapping[str, Any], split: str, length: str, domain: str | None = None) -> list[Row]:
    """Return the rows of a split and a length, of one domain or all."""
    return [
        row
        for key, rows in found["rows"].items()
        for row in rows
        if key.startswith(f"{split} | {length} | ") and domain in (None, row["domain"])
    ]
