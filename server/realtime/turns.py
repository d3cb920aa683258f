"""Turns of a session: stretches of speech that end with a silence, found while the audio comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.audio.speech import FRAME_SAMPLES, SpeechDetector

FloatArray = npt.NDArray[np.float32]

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE
# Frames of speech that begin a turn. One alone is a click more often than a word.
FIRST_FRAMES = 2


@dataclass(frozen=True)
class TurnRule:
    """When a turn begins and ends, see `server_vad` in OpenAI's API."""

    threshold: float = 0.5  # probability from which a frame counts as speech
    prefix_s: float = 0.3  # audio kept from before the first speech
    silence_s: float = 0.5  # that ends a turn


@dataclass(frozen=True)
class Started:
    """A turn has begun. at: its first sample, from the start of the session."""

    at: int


@dataclass(frozen=True, eq=False)
class Stopped:
    """A turn has ended. at: the sample after its last one. wave: its samples (n,)."""

    at: int
    wave: FloatArray
    cut: bool = False  # at the longest turn, within speech


class TurnDetector:
    """Finds turns in audio at 16 kHz. Memory is bounded by the longest turn and the prefix."""

    def __init__(self, rule: TurnRule, longest_s: float, at: int = 0) -> None:
        """at: the sample of the session at which its audio begins."""
        self.rule = rule
        self._longest = int(longest_s * SAMPLE_RATE)
        self._silence = max(1, round(rule.silence_s / FRAME_S))  # frames
        self._prefix = int(rule.prefix_s * SAMPLE_RATE) // FRAME_SAMPLES + FIRST_FRAMES  # frames
        self._detector = SpeechDetector()
        self._at = at  # sample after the last frame that was heard
        self._rest = np.zeros(0, np.float32)  # less than a frame
        self._frames: list[FloatArray] = []  # of the open turn, else those that may become its prefix
        self._open = False
        self._run = 0  # frames of speech in a row before a turn, of silence within one

    @property
    def speaking(self) -> bool:
        """Whether a turn is open."""
        return self._open

    def __len__(self) -> int:
        """Return how many samples `end` would return of what has been heard."""
        return len(self._frames) * FRAME_SAMPLES + len(self._rest)

    @property
    def wave(self) -> FloatArray:
        """The whole frames of the open turn, or else of what is kept as a prefix (n,)."""
        return np.concatenate([np.zeros(0, np.float32), *self._frames])

    def hear(self, samples: FloatArray) -> list[Started | Stopped]:
        """Take the next samples (n,), and return the beginnings and ends of turns in them."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._rest = samples[whole:].copy()
        seen = self._detector.hear(samples[:whole])
        found: list[Started | Stopped] = []
        for frame, probability in zip(samples[:whole].reshape(-1, FRAME_SAMPLES), seen, strict=True):
            found += self._take(frame.copy(), float(probability) >= self.rule.threshold)
        return found

    def end(self, last: FloatArray) -> FloatArray:
        """Return the samples of the open turn, or else of what was kept as a prefix, and begin anew.

        last: samples (n,) that follow what was heard and belong to it.
        """
        wave = np.concatenate([self.wave, self._rest, last])
        self._begin_anew()
        self._at += len(self._rest) + len(last)
        self._rest = np.zeros(0, np.float32)
        return wave

    def _take(self, frame: FloatArray, is_speech: bool) -> list[Started | Stopped]:
        self._at += FRAME_SAMPLES
        self._frames.append(frame)
        if not self._open:
            self._run = self._run + 1 if is_speech else 0
            del self._frames[: -self._prefix]
            if self._run < FIRST_FRAMES:
                return []
            self._open, self._run = True, 0
            return [Started(self._at - len(self._frames) * FRAME_SAMPLES)]
        self._run = 0 if is_speech else self._run + 1
        full = len(self._frames) * FRAME_SAMPLES >= self._longest
        if self._run < self._silence and not full:
            return []
        stopped = Stopped(self._at, self.wave, cut=self._run < self._silence)
        self._begin_anew()
        return [stopped]

    def _begin_anew(self) -> None:
        self._frames, self._open, self._run = [], False, 0
