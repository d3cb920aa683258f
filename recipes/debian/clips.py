"""Clips of a package, and the rules by which one becomes an utterance or is left out.

Every reason here is one that the report counts. A text keeps its letters; only white space is collapsed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf

from recipes.entries import Kept, LeftOut
from ssvd_asr.scoring import normalise
from training.corpus.report import MAX_WORDS_PER_S, SILENT_PEAK

MIN_DURATION_S = 0.1
MAX_DURATION_S = 30.0  # the window of OWSM and of Whisper
# The fastest actors of recipes/fillets say 20. With more, the recording is of a shorter text.
MAX_LETTERS_PER_S = 22.0
# A channel below this share of the loudest one's RMS is silent, as in serving (docs/serving.md, Channels).
SILENT_SHARE = 0.01
SHARES = (("train", 0.8), ("valid", 0.9), ("test", 1.0))
# Not said as they are written, besides Unicode's own symbols.
_SYMBOLS = frozenset("%*#@/\\_&{}")
_APOSTROPHES = frozenset("`´")  # symbols to Unicode


@dataclass(frozen=True)
class Clip:
    """A file of a package and what is said in it."""

    id: str
    group: str  # its clips are in one split
    audio: Path
    text: str
    language: str  # ISO 639-1
    speaker: str | None = None
    translation: str | None = None  # the text in English
    split: str | None = None  # None: by the group
    names_group: bool = True  # whether the manifest names the group

    @property
    def its_split(self) -> str:
        """The split of the clip."""
        return self.split or split_of(self.group)


def split_of(group: str) -> str:
    """Return train, valid or test by the group's name alone, whatever else the package holds.

    The first eight digits of its sha256 are a share of 16**8: below 0.8 train, below 0.9 valid, else test.
    """
    share = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32
    return next(split for split, limit in SHARES if share < limit)


def utterance(clip: Clip) -> Kept | LeftOut:
    """Return the utterance that a clip is, or why it is none. Decodes the whole file."""

    def left_out(reason: str, detail: object) -> LeftOut:
        return LeftOut(clip.id, clip.its_split, reason, str(detail))

    text = " ".join(clip.text.split())
    words = normalise(text).split()
    if not words:
        return left_out("no words", text)
    if symbols_of(text):
        return left_out("symbols in the text", text)
    try:
        samples, rate_hz = sf.read(clip.audio, dtype="float32", always_2d=True)  # (samples, channels)
    except (sf.SoundFileError, OSError) as error:
        return left_out("unreadable audio", error)
    duration_s = len(samples) / rate_hz
    if duration_s < MIN_DURATION_S:
        return left_out(f"under {MIN_DURATION_S} s", f"{duration_s:.3f} s: {text}")
    if duration_s > MAX_DURATION_S:
        return left_out(f"over {MAX_DURATION_S:.0f} s", f"{duration_s:.1f} s: {text}")
    if np.abs(samples).max() < SILENT_PEAK:
        return left_out("silent audio", text)
    if len(words) / duration_s > MAX_WORDS_PER_S:
        return left_out(f"over {MAX_WORDS_PER_S:.0f} words a second", f"{duration_s:.2f} s: {text}")
    if sum(map(len, words)) / duration_s > MAX_LETTERS_PER_S:
        return left_out(f"over {MAX_LETTERS_PER_S:.0f} letters a second", f"{duration_s:.2f} s: {text}")
    return Kept(
        clip.id,
        clip.its_split,
        clip.audio,
        text,
        clip.speaker,
        duration_s,
        channel=speaking_channel(samples),
        language=clip.language,
        group=clip.group if clip.names_group else None,
    )


def symbols_of(text: str) -> str:
    """Return the characters of a text that are said, if at all, as words that it does not have."""
    return "".join(
        letter
        for letter in text
        if letter in _SYMBOLS or (unicodedata.category(letter)[0] == "S" and letter not in _APOSTROPHES)
    )


def speaking_channel(samples: npt.NDArray[np.float32]) -> int | None:
    """Return the only channel of several that is not silent, or None.

    Args:
        samples: (samples, channels).
    """
    rms = np.sqrt(np.mean(np.square(samples, dtype=np.float64), axis=0))  # (channels,)
    loud = np.flatnonzero(rms >= SILENT_SHARE * rms.max())
    return int(loud[0]) if len(loud) == 1 < len(rms) else None
