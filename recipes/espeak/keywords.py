"""Keywords measured on names and terms that owsm-nano's training never said: docs/results/keywords.json.

    python -m recipes.espeak.keywords

Sets: `terms`, sentences with such terms, spoken here; `unseen`, with words that the domain's training did
not say; `ordinary`, the domain's own sets, with terms that nobody says; `known`, the same with words of the
base's training that the utterance does not say. The keywords of an utterance are its own terms and a number
of others. The bonus is chosen on validation data: other terms, sentences and voices. A run that was stopped
goes on where it ended.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from adapters_store.packaged import PACKAGED, builtins
from recipes.espeak.grammar import load_words
from recipes.espeak.keyword_runs import measure, row_of
from recipes.espeak.keywords_page import KEPT_ORDINARY, chosen_bonus, write_page
from recipes.espeak.terms import load_terms, said_in, speak_terms
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.parser import CommandParser
from ssvd_asr.transcription import transcribe
from training.bench.unseen import words_of

DOMAINS = ("child", "scottish")
UTTERANCES = {
    "valid": {"terms": 40, "ordinary": 40, "known": 40},
    "test": {"terms": 100, "unseen": 60, "ordinary": 100, "known": 100},
}
BATCH = 16
BONUSES = (2.0, 3.0, 4.0, 5.0, 6.0)  # nats a piece, tried on validation data
FEW, SOME, MANY = 10, 50, 200  # keywords beside those of the utterance
VALIDATION_MANY = 100  # there are no more terms of that split

Row = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """What is decoded, and how.

    Attributes:
        kind: terms, unseen, ordinary or known.
        adapted: whether the domain's adapter is used, or the base alone.
        others: keywords beside those of the utterance; None: no keywords at all.
        bonus: nats a piece; None without keywords.
    """

    split: str
    kind: str
    domain: str
    adapted: bool
    others: int | None = None
    bonus: float | None = None


def conditions(split: str, bonuses: Sequence[float]) -> Iterator[Condition]:
    """Yield what is measured on a split, for these bonuses."""
    for domain in DOMAINS:
        for kind in UTTERANCES[split]:
            for adapted in (True, False) if split == "test" and kind in ("terms", "unseen") else (True,):
                bare = Condition(split, kind, domain, adapted)
                yield bare
                counts: tuple[int, ...] = (SOME,)
                if kind == "ordinary":
                    counts = (MANY if split == "test" else VALIDATION_MANY,)
                elif kind == "terms" and split == "test" and adapted:
                    counts = (FEW, SOME, MANY)
                for others in counts:
                    for bonus in bonuses:
                        yield replace(bare, others=others, bonus=bonus)


class Bench:
    """The base and its packaged adapters, and the corpora."""

    def __init__(self, data: Path, out: Path) -> None:
        self.data, self.out = data, out
        self.base = load_base()
        factors = factorize(self.base)
        self.adapted = adapt(self.base.network, factors)
        with torch.no_grad():
            self.cores = {
                domain: load_adapter(builtins(PACKAGED)[domain].path, self.base, factors).adapter.cores(
                    self.base.dtype
                )
                for domain in DOMAINS
            }

    def manifest(self, split: str, kind: str, domain: str) -> Path:
        """Return the manifest of a set; `terms` are spoken if they are not there yet."""
        if kind == "terms":
            count = UTTERANCES[split][kind]
            return speak_terms(domain, split, count, self.out / f"{domain}-terms-{split}")
        return self.data / f"{domain}-{'unseen' if kind == 'unseen' else split}" / "manifest.jsonl"

    def words(self, split: str, kind: str, domain: str) -> list[str]:
        """Return the words of which keywords are taken."""
        if kind in ("terms", "ordinary"):
            return load_terms(split)
        known = {word for words in load_words().values() for word in words}
        if kind == "known":
            return sorted(known)
        heard = words_of(self.data / f"{domain}-train" / "manifest.jsonl")
        said = words_of(self.manifest(split, kind, domain))
        return sorted((known | said) - heard)

    def rows(self, condition: Condition) -> Iterator[Row]:
        """Decode the utterances of a condition, those of similar lengths together."""
        path = self.manifest(condition.split, condition.kind, condition.domain)
        lines = path.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines][: UTTERANCES[condition.split][condition.kind]]
        entries.sort(key=lambda entry: entry["duration_s"])
        words = self.words(condition.split, condition.kind, condition.domain)
        options = DecodingOptions()
        if condition.bonus is not None:
            options = replace(options, keyword_nats=condition.bonus)
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            waves = [read_audio(path.parent / entry["audio"]) for entry in part]
            given = [keywords_of(entry, words, condition) for entry in part]
            began = time.perf_counter()
            said = transcribe(
                self.base, waves, adapted=self.adapted, options=options,
                cores=self.cores[condition.domain] if condition.adapted else None,
                prompts=[Prompt(keywords=keywords) for keywords in given],
            )  # fmt: skip
            each_s = (time.perf_counter() - began) / len(part)
            for entry, found, keywords in zip(part, said, given, strict=True):
                own = {} if condition.kind == "known" else said_in(entry["text"], words)
                yield row_of(
                    entry["text"], found.text, own, keywords, audio_s=entry["duration_s"], wall_s=each_s
                )


def keywords_of(entry: Mapping[str, Any], words: Sequence[str], condition: Condition) -> tuple[str, ...]:
    """Return the words that an utterance says, and a number of others; of `known` only these."""
    if condition.others is None:
        return ()
    own = list(said_in(entry["text"], words))
    rest = [word for word in words if word not in own]
    random.Random(entry["id"]).shuffle(rest)
    return tuple(([] if condition.kind == "known" else own) + rest[: condition.others])


def main(argv: list[str] | None = None) -> int:
    """Measure, choose the bonus and write the results."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"), help="folder of the corpora")
    parser.add_argument("--out", type=Path, default=Path("runs/keywords"), help="folder of what is decoded")
    args = parser.parse_args(argv)
    bench = Bench(args.data, args.out)
    valid = measure(bench.rows, list(conditions("valid", BONUSES)), args.out)
    bonus = chosen_bonus(valid)
    print(f"bonus: {bonus:g} nats a piece; ordinary speech may lose {KEPT_ORDINARY:.1%}")
    test = measure(bench.rows, list(conditions("test", (bonus,))), args.out)
    write_page(valid, test, bonus)
    return 0


if __name__ == "__main__":
    sys.exit(main())
