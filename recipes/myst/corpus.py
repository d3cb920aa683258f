"""Reader of MyST as distributed in LDC2021S05, with the paper's filters.

    [myst_child_conv_speech/][data/]{train,development,test}/SPEAKER/SESSION/UTTERANCE.flac, .trn beside it

About half of the recordings have no transcript. An utterance needs, in this order: a transcript and readable
audio; words; at least 3 of them; at most 30 s; a WER of Whisper-large of at most 50 %.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile as sf
from tqdm import tqdm

from recipes.entries import Kept, LeftOut
from recipes.myst.filters import Figures, wer_of
from recipes.myst.transcripts import clean, decode
from recipes.paper.command import Case, cased
from ssvd_asr.errors import DataError

PARTITIONS = {"train": "train", "development": "valid", "test": "test"}  # MyST's name: ours
MIN_WORDS = 3
MAX_DURATION_S = 30.0
MAX_WHISPER_WER = 0.5


@dataclass
class MystReader:
    """Reader of MyST. ``keep`` lists a split's utterances and replaces the filters by words and Whisper."""

    corpus: Path
    case: Case
    whisper: Figures | None = None
    keep: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _seen: Counter[str] = field(default_factory=Counter)

    def asked(self) -> dict[str, Any]:
        """Return the settings that decide the manifests, with digests of the lists."""
        return {
            "corpus": str(self.corpus.resolve()),
            "case": self.case,
            "whisper": None if self.whisper is None else _digest(sorted(self.whisper.items())),
            "keep": {split: _digest(sorted(ids)) for split, ids in sorted(self.keep.items())},
        }

    def entries(self) -> Iterator[Kept | LeftOut]:
        """Yield an entry for every .flac and every .trn without one. Raises DataError if this is not MyST."""
        root = find_root(self.corpus)
        for partition, split in PARTITIONS.items():
            files = sorted((root / partition).rglob("*.flac"))
            if not files:
                raise DataError(f"{root / partition} holds no .flac: expected SPEAKER/SESSION/UTTERANCE.flac")
            for path in tqdm(files, desc=f"MyST {partition}", unit="utt"):
                entry = self._entry(path, split, root / partition)
                self._seen[f"listed {split}"] += path.stem in self.keep.get(split, ())
                yield entry
            for path in sorted((root / partition).rglob("*.trn")):
                if not path.with_suffix(".flac").is_file():
                    yield LeftOut(path.stem, split, "no audio", str(path))

    def notes(self) -> list[str]:
        """Return notes on the filters applied, with counts."""
        notes = [f"Texts: annotation removed, numbers in words, {self.case} case."]
        for split, ids in sorted(self.keep.items()):
            found = self._seen[f"listed {split}"]
            notes.append(
                f"{split}: the {len(ids)} utterances of the given list, of which {len(ids) - found} are not "
                "in the corpus; neither the rule of 3 words nor Whisper's figures were applied again."
            )
        rest = ", ".join(split for split in PARTITIONS.values() if split not in self.keep)
        if rest and self.whisper is None:
            notes.append(
                f"NOT APPLIED in {rest}: the paper's filter, Whisper-large's WER over {MAX_WHISPER_WER:.0%} "
                "(no --whisper), so there are more utterances than in the paper, and worse transcripts."
            )
        elif rest:
            notes.append(
                f"Whisper's WER over {MAX_WHISPER_WER:.0%} is left out in {rest}; {self._seen['no figure']} "
                "utterances have no figure of Whisper's and were kept."
            )
        return notes

    def _entry(self, path: Path, split: str, partition: Path) -> Kept | LeftOut:
        def left_out(reason: str, detail: object) -> LeftOut:
            return LeftOut(path.stem, split, reason, str(detail))

        parts = path.relative_to(partition).parts
        if len(parts) != 3:
            return left_out("not in SPEAKER/SESSION/", path)
        transcript = path.with_suffix(".trn")
        if not transcript.is_file():
            return left_out("no transcript", transcript)
        try:
            info = sf.info(path)
        except (sf.SoundFileError, OSError) as error:
            return left_out("unreadable audio", error)
        duration_s = info.frames / info.samplerate
        raw = decode(transcript.read_bytes())
        text = clean(raw)
        words = len(text.split())
        listed = self.keep.get(split)
        if listed is not None and path.stem not in listed:
            return left_out("not in the given list", path.stem)
        if not words:
            return left_out("no words", raw)
        if words < MIN_WORDS and listed is None:
            return left_out(f"under {MIN_WORDS} words", raw)
        if duration_s > MAX_DURATION_S:
            return left_out(f"over {MAX_DURATION_S:.0f} s", f"{duration_s:.2f} s")
        if self.whisper is not None and listed is None:
            wer = wer_of(self.whisper, path.stem, text)
            self._seen["no figure"] += wer is None
            if wer is not None and wer > MAX_WHISPER_WER:
                return left_out(f"Whisper's WER over {MAX_WHISPER_WER:.0%}", f"{wer:.3f}")
        return Kept(path.stem, split, path.resolve(), cased(text, self.case), parts[0], duration_s)


def find_root(corpus: Path) -> Path:
    """Return the folder of the three partitions, ``corpus`` or one below it as in the distribution.

    Raises DataError that names what was expected and what is missing.
    """
    tried = [corpus, corpus / "data", corpus / "myst_child_conv_speech" / "data"]
    missing = {root: [name for name in PARTITIONS if not (root / name).is_dir()] for root in tried}
    for root, names in missing.items():
        if not names:
            return root
    best = min(tried, key=lambda root: len(missing[root]))
    expected = "[myst_child_conv_speech/][data/]{train,development,test}/SPEAKER/SESSION/UTTERANCE.flac"
    if not corpus.is_dir():
        raise DataError(f"no folder {corpus}: expected MyST, {expected}")
    raise DataError(
        f"{corpus} is not MyST: expected {expected} in it, {best} has no {' and no '.join(missing[best])}"
    )


def _digest(value: object) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value).encode()).hexdigest()
