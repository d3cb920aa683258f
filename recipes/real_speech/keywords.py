"""Keywords against a prompt with the same words: Whisper-base on rare words of Dutch actors.

    python -m recipes.real_speech.keywords --base FOLDER

The clips are those of recipes/fillets (nl) that say a word of at least five letters which the training
texts lack. Such words are given with others of the same split: as keywords, as a prompt, or not at all. The
bonus is chosen on the validation split. A run that was stopped goes on where it ended. It writes
docs/results/keywords-whisper.json and keywords-whisper.md.
"""

from __future__ import annotations

import json
import platform
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recipes.espeak.keyword_runs import measure, row_of
from recipes.espeak.terms import said_in
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.parser import CommandParser
from ssvd_asr.scoring import normalise
from ssvd_asr.transcription import transcribe
from training.bench.unseen import words_of

RESULTS = Path("docs/results")
CLIPS = {"valid": 30, "test": 30}
LETTERS = 5  # the fewest of a wanted word
BATCH = 5
BONUSES = (1.0, 2.0, 3.0)  # nats a piece, tried on validation data
OTHERS = (10, 50)

Row = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """How the clips of a split are decoded: how words are given, how many others, and the bonus."""

    split: str
    way: str = "nothing"  # keywords, prompt or nothing
    others: int | None = None
    bonus: float | None = None


class Bench:
    """A base that knows previous texts, and the clips."""

    def __init__(self, base: BaseModel, data: Path) -> None:
        self.base, self.data = base, data
        heard = words_of(data / "train.jsonl")
        self.rare = {
            split: sorted(
                word
                for word in words_of(data / f"{split}.jsonl") - heard
                if len(word) >= LETTERS and word.isalpha()
            )
            for split in ("valid", "test")
        }

    def clips(self, split: str) -> list[Row]:
        """Return the first clips that say a rare word, the short ones first, with those that they say."""
        lines = (self.data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        found: list[Row] = []
        for entry in map(json.loads, lines):
            own = said_in(normalise(entry["text"]), self.rare[split])
            if own and len(found) < CLIPS[split]:
                found.append({**entry, "own": own})
        return sorted(found, key=lambda entry: float(entry["duration"]))

    def rows(self, condition: Condition) -> list[Row]:
        """Decode the clips of a condition."""
        options = DecodingOptions()
        if condition.bonus is not None:
            options = replace(options, keyword_nats=condition.bonus)
        rows = []
        clips = self.clips(condition.split)
        for start in range(0, len(clips), BATCH):
            part = clips[start : start + BATCH]
            given = [self._words(clip, condition) for clip in part]
            waves = [read_audio(Path(clip["audio"])) for clip in part]
            began = time.perf_counter()
            prompts = [_prompt(words, condition.way) for words in given]
            said = transcribe(self.base, waves, prompts=prompts, options=options)
            each_s = (time.perf_counter() - began) / len(part)
            for clip, words, found in zip(part, given, said, strict=True):
                spoken, heard = normalise(clip["text"]), normalise(found.text)
                rows.append(
                    row_of(spoken, heard, clip["own"], words, audio_s=clip["duration"], wall_s=each_s)
                )
        return rows

    def _words(self, clip: Row, condition: Condition) -> tuple[str, ...]:
        if condition.others is None:
            return ()
        draw = random.Random(clip["id"])
        rest = [word for word in self.rare[condition.split] if word not in clip["own"]]
        draw.shuffle(rest)
        words = [*clip["own"], *rest[: condition.others]]
        draw.shuffle(words)  # a prompt has an order, which must not tell what is said
        return tuple(words)


def _prompt(words: Sequence[str], way: str) -> Prompt:
    if way == "prompt":
        return Prompt("<nld>", previous_text=", ".join(words) + ".")
    return Prompt("<nld>", keywords=tuple(words) if way == "keywords" else ())


def main(argv: list[str] | None = None) -> int:
    """Measure, choose the bonus with the fewest wrong words, and write the results."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--base", default="openai/whisper-base", help="a base that knows previous texts")
    parser.add_argument("--data", type=Path, default=Path("data/real/fillets-nl"), help="recipes.fillets' nl")
    parser.add_argument("--out", type=Path, default=Path("runs/keywords-whisper"))
    args = parser.parse_args(argv)
    bench = Bench(load_base(args.base), args.data)
    tried = [Condition("valid", "keywords", OTHERS[0], bonus) for bonus in BONUSES]
    valid = measure(bench.rows, [Condition("valid"), *tried], args.out)
    bonus = min(valid[1:], key=lambda row: float(row["wer"]))["bonus"]
    ways = [Condition("test", "keywords", others, bonus) for others in OTHERS]
    ways += [Condition("test", "prompt", others) for others in OTHERS]
    test = measure(bench.rows, [Condition("test"), *ways], args.out)
    _write(bench, valid, test, bonus)
    return 0


def _write(bench: Bench, valid: list[Row], test: list[Row], bonus: float) -> None:
    document = {
        "command": "python -m recipes.real_speech.keywords",
        "base": bench.base.name if "/" not in bench.base.name else Path(bench.base.name).name,
        "digest": bench.base.digest,
        "processor": platform.processor() or platform.machine(),
        "bonus": bonus,
        "valid": valid,
        "test": test,
    }
    (RESULTS / "keywords-whisper.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Keywords against a prompt",
        "",
        f"Written by `{document['command']}`. {document['base']}, without an adapter, on Dutch actors "
        "(recipes/fillets).",
        "",
        f"Each clip says a word of at least {LETTERS} letters that the training texts lack. It is given with",
        "the number of others: as `keywords`, or as a `prompt` that lists the same words. A false alarm is a",
        "given word that the transcript says and the reference does not. `other` is the WER of the other",
        "words, with all insertions.",
        "",
        f"## Test data, {bonus:g} nats a piece",
        "",
        *_table(test),
        "",
        "## Validation data; the bonus with the fewest wrong words was taken",
        "",
        *_table(valid),
    ]
    (RESULTS / "keywords-whisper.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(rows: Sequence[Row]) -> list[str]:
    return [
        "| given as | others | nats | clips | found | false alarms | WER | other | RTF |",
        "|---|---|---|---|---|---|---|---|---|",
    ] + [
        f"| {row['way']} | {'' if row['others'] is None else row['others']} "
        f"| {'' if row['bonus'] is None else f'{row["bonus"]:g}'} | {row['utterances']} "
        f"| {row['found']} of {row['own']} | {row['false_alarms']} | {100 * row['wer']:.1f} % "
        f"| {100 * row['wer_other']:.1f} % | {row['rtf']:.2f} |"
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
