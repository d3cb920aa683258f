"""How much text so many seconds of speech have: whether words are missing, or a repetition was truly spoken.

A base without CTC may leave out most of what is said, and be sure of the rest. Whisper does so where a phrase
is said again and again.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.resample import SAMPLE_RATE
from ssvd_asr.audio.segment import speech_s

# Of 291 clips with more than 3 s of speech (Dutch, Czech, English, Russian, Greek), the transcript with the
# fewest bytes of UTF-8 a second has 7.7, and the middle one of each set 16 to 28.
MIN_BYTES_PER_S = 6.0
SHORTEST_BYTES = (
    5  # what a word counts at least: letters that are spelled, and each digit, take the time of one
)
MAX_CHARACTERS_PER_S = 30.0
MIN_SPEECH_S = 3.0  # in less, one slow word is much
MAX_TOKENS_PER_S = 10.0  # of the audio: a phrase that is repeated beyond is no speech


class Pace:
    """The speech of one row, which is looked for when it is first asked for."""

    def __init__(self, wave: npt.NDArray[np.float32] | None = None) -> None:
        """`wave`: (samples,) at 16 kHz; without one nothing is told."""
        self._wave = wave

    @cached_property
    def speech_s(self) -> float:
        """Seconds of speech; 0 where the audio is not known."""
        return 0.0 if self._wave is None else speech_s(self._wave)

    @property
    def most_tokens(self) -> int | None:
        """How many tokens may be said in the time, at most; None where it is not known."""
        return None if self._wave is None else int(MAX_TOKENS_PER_S * len(self._wave) / SAMPLE_RATE)

    def lacks_words(self, text: str) -> bool:
        """Return whether much of the speech cannot be in the text."""
        enough_s = max(MIN_SPEECH_S, _spoken_bytes(text) / MIN_BYTES_PER_S)
        if self._wave is None or len(self._wave) / SAMPLE_RATE < enough_s:
            return False  # without looking for the speech
        return self.speech_s >= enough_s

    def may_be_said(self, text: str) -> bool:
        """Return whether the text is neither too short nor too long for the speech."""
        return 0.0 < len(text) <= MAX_CHARACTERS_PER_S * self.speech_s and not self.lacks_words(text)


def _spoken_bytes(text: str) -> int:
    """Return the bytes of UTF-8 that a text would have, roughly, with its digits and letters as words."""
    return sum(
        max(len(word.encode()) + 1, SHORTEST_BYTES * max(1, sum(map(str.isdigit, word))))
        for word in text.split()
    )
