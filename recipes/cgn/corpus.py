"""Reader of CGN as distributed, cut at the intervals of its orthographic annotation.

    data/audio/wav/comp-[a-o]/{nl,vl}/RECORDING.wav
    data/annot/text/ort/comp-[a-o]/{nl,vl}/RECORDING.ort or .ort.gz

Each utterance is one interval of one speaker's tier; neighbours are not joined. The paper does not state the
split and most filters. For these the rules are ours, and README.md lists them.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile as sf
from tqdm import tqdm

from recipes.cgn.textgrid import Interval, Tier, read_textgrid
from recipes.cgn.words import is_unintelligible, words_of
from recipes.entries import NO_SPLIT, Kept, LeftOut
from recipes.paper.command import Case, cased
from ssvd_asr.audio.read import END_TOLERANCE_S
from ssvd_asr.errors import DataError

REGIONS = ("nl", "vl")
COMPONENTS = "abcdefghijklmno"
LEFT_OUT_COMPONENTS = "cdf"  # by the paper
MAX_DURATION_S = 30.0
NO_SPEAKER = ("BACKGROUND", "COMMENT")  # tiers without speech
UNKNOWN_SPEAKER = "UNKNOWN"
# Our split by speaker. The paper's counts are 69.9, 10.0 and 20.1 % of its utterances.
SHARES = (("train", 0.7), ("valid", 0.8), ("test", 1.0))


@dataclass
class CgnReader:
    """Reader of CGN by the module's rules."""

    corpus: Path
    annotations: Path
    case: Case
    min_words: int = 1
    drop_overlap: bool = False
    _seen: Counter[str] = field(default_factory=Counter)

    def asked(self) -> dict[str, Any]:
        """Return the settings that decide the manifests."""
        return {
            "corpus": str(self.corpus.resolve()),
            "annotations": str(self.annotations.resolve()),
            "case": self.case,
            "min_words": self.min_words,
            "drop_overlap": self.drop_overlap,
        }

    def entries(self) -> Iterator[Kept | LeftOut]:
        """Yield an entry for every labelled interval, and for every recording without annotation.

        Intervals without a recording are left out as such. Raises DataError if this is not CGN.
        """
        wavs = _files(self.corpus, ("data/audio/wav", "audio/wav"), (".wav",))
        orts = _files(self.annotations, ("data/annot/text/ort", "annot/text/ort"), (".ort.gz", ".ort"))
        for key in tqdm(sorted(wavs | orts), desc="CGN", unit="recording"):
            component, region, name = key
            if key not in orts:
                yield LeftOut(name, NO_SPLIT, "recording without annotation", str(wavs[key]))
                continue
            try:
                tiers = read_textgrid(orts[key])
            except DataError as error:
                yield LeftOut(name, NO_SPLIT, "unreadable annotation", str(error))
                continue
            audio_s = _audio_s(wavs.get(key))
            for tier in tiers:
                others = [other for other in tiers if other is not tier and other.name not in NO_SPEAKER]
                for interval in tier.intervals:
                    if interval.text.strip():
                        entry = self._entry(
                            name, component, tier.name, interval, wavs.get(key), audio_s, others
                        )
                        if isinstance(entry, Kept):
                            self._seen[f"{component} {region}"] += 1
                        yield entry

    def notes(self) -> list[str]:
        """Return notes on the rules that the paper does not state, with counts."""
        kept = ", ".join(
            f"{component}-{region} {self._seen[key]}"
            for component in COMPONENTS
            for region in REGIONS
            if self._seen[key := f"{component} {region}"]
        )
        overlap = "left out" if self.drop_overlap else f"kept ({self._seen['overlapped']})"
        return [
            f"Texts: marks (*v, *d, ...), ggg and punctuation removed, case: {self.case}.",
            "OUR SPLIT, not the authors' (the paper gives counts only): by speaker, sha256 of the code, "
            "70 % train, 10 % valid, 20 % test.",
            f"Ours too: utterances are the annotation's intervals, none joined; words: at least "
            f"{self.min_words}; xxx and unknown speakers left out; utterances while someone else speaks "
            f"{overlap}.",
            f"Kept by component and region: {kept or 'none'}.",
        ]

    def _entry(
        self, name: str, component: str, speaker: str, interval: Interval, wav: Path | None,
        audio_s: float | str, others: list[Tier],
    ) -> Kept | LeftOut:  # fmt: skip
        identity = f"{speaker}-{name}-{round(interval.start_s * 1000):07d}"
        known = speaker not in NO_SPEAKER and not speaker.startswith(UNKNOWN_SPEAKER)
        split = split_of(speaker) if known else NO_SPLIT
        duration_s = round(interval.end_s - interval.start_s, 3)

        def left_out(reason: str, detail: object) -> LeftOut:
            return LeftOut(identity, split, reason, str(detail))

        if component in LEFT_OUT_COMPONENTS:
            return left_out(f"component {component}", interval.text)
        if speaker in NO_SPEAKER:
            return left_out("no speech (BACKGROUND, COMMENT)", interval.text)
        if wav is None:
            return left_out("no audio", interval.text)
        if isinstance(audio_s, str):
            return left_out("unreadable audio", audio_s)
        if not known:
            return left_out("unknown speaker", interval.text)
        words = words_of(interval.text)
        if is_unintelligible(words):
            return left_out("unintelligible (xxx)", interval.text)
        if not words:
            return left_out("no words", interval.text)
        if len(words) < self.min_words:
            return left_out(f"under {self.min_words} words", interval.text)
        if interval.start_s < 0 or duration_s <= 0:
            return left_out("impossible times", f"{interval.start_s} to {interval.end_s} s")
        if interval.end_s > audio_s + END_TOLERANCE_S:
            return left_out("outside the recording", f"to {interval.end_s} s of {audio_s:.3f} s")
        if duration_s > MAX_DURATION_S:
            return left_out(f"over {MAX_DURATION_S:.0f} s", f"{duration_s} s")
        if _overlaps(interval, others):
            if self.drop_overlap:
                return left_out("someone else speaks", interval.text)
            self._seen["overlapped"] += 1
        text = cased(" ".join(words), self.case)
        return Kept(identity, split, wav.resolve(), text, speaker, duration_s, interval.start_s)


def split_of(speaker: str) -> str:
    """Return train, valid or test by the speaker's code alone, whatever the other recordings."""
    share = int(hashlib.sha256(speaker.encode()).hexdigest()[:8], 16) / 2**32
    return next(split for split, limit in SHARES if share < limit)


def _overlaps(interval: Interval, others: list[Tier]) -> bool:
    """Return whether another speaker has a label during the interval. A tier's intervals are in order."""
    for tier in others:
        last = bisect_left(tier.intervals, interval.end_s, key=lambda other: other.start_s) - 1
        for other in reversed(tier.intervals[: last + 1]):
            if other.end_s <= interval.start_s:
                break
            if other.text.strip():
                return True
    return False


def _audio_s(wav: Path | None) -> float | str:
    """Return the length of a recording in seconds, or the reason why it is unknown."""
    if wav is None:
        return "there is none"
    try:
        info = sf.info(wav)
    except (sf.SoundFileError, OSError) as error:
        return str(error)
    return float(info.frames / info.samplerate)


def _files(
    corpus: Path, below: tuple[str, ...], endings: tuple[str, ...]
) -> dict[tuple[str, str, str], Path]:
    """Return the files by component, region and name; for one name the later of two endings counts.

    Raises DataError that names the expected files and folder.
    """
    expected = f"{below[0]}/comp-[{COMPONENTS[0]}-{COMPONENTS[-1]}]/{{nl,vl}}/RECORDING{' or '.join(endings)}"
    roots = [corpus / folder for folder in below if (corpus / folder).is_dir()]
    if not roots:
        what = "is not CGN" if corpus.is_dir() else "does not exist"
        raise DataError(f"{corpus} {what}: expected {expected}, there is no {corpus / below[0]}")
    found = {
        (component, region, path.name.removesuffix(ending)): path
        for ending in endings
        for component in COMPONENTS
        for region in REGIONS
        for path in sorted((roots[0] / f"comp-{component}" / region).glob(f"*{ending}"))
    }
    if not found:
        raise DataError(f"{roots[0]} holds no recording of CGN: expected {expected}")
    return found
