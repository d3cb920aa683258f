"""Training targets, token for token as in ESPnet's S2TPreprocessor for OWSM.

    text      <lang> <asr> <start> pieces <end>     or     <lang> <asr> <notimestamps> pieces
    text_ctc  pieces
    text_prev <na>

A row of several utterances repeats `<start> pieces <end>`, as OWSM's long-form targets do. Without times, its
pieces follow one another.
In training, silence of random length precedes the speech and shifts the times. A test compares the
targets with espnet2.train.preprocessor.S2TPreprocessor under the same random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssvd_asr.base.model import Tokens
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import Window

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spoken:
    """One utterance of a row: its pieces, and its place in samples from the row's start."""

    pieces: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class PromptSymbols:
    """Token ids of the prompt and of times."""

    head: tuple[int, ...]  # language and task, if the base has several
    notimestamps: int
    first_time: int
    last_time: int
    na: int | None  # in place of a previous text
    unknown: int | None
    samples_per_tick: int  # between neighbouring time symbols
    window_samples: int

    @classmethod
    def of(cls, window: Window, tokens: Tokens, language: str = "<eng>") -> PromptSymbols:
        """Look up the symbols. Raises SsvdError for a language the base lacks."""
        _, *head = tokens.prompt_ids(Prompt(language, timestamps=True))
        return cls(
            head=tuple(head),
            notimestamps=tokens.notime,
            first_time=tokens.first_time,
            last_time=tokens.last_time,
            na=tokens.no_previous,
            unknown=tokens.unk,
            samples_per_tick=int(tokens.time_step_s * window.sample_rate_hz),
            window_samples=window.samples,
        )

    def target(self, row: Sequence[Spoken], *, timestamps: bool, shift: int = 0) -> list[int]:
        """Return the decoder target of a row after ``shift`` ticks of silence.

        Times are limited to the window's last symbol. (S2TPreprocessor does not limit them: when it rounds
        up twice, the time can be one token too high, which is no time symbol.)
        """
        if not timestamps:
            return [*self.head, self.notimestamps, *_pieces(row)]
        target = [*self.head]
        for spoken in row:
            target += [self._time(spoken.start, shift), *spoken.pieces, self._time(spoken.end, shift)]
        return target

    def _time(self, sample: int, shift: int) -> int:
        return min(self.first_time + round(sample / self.samples_per_tick) + shift, self.last_time)


@dataclass(frozen=True)
class Example:
    """One padded row with its targets."""

    speech: FloatArray  # (padded_samples,)
    text: list[int]
    text_ctc: list[int]


def training_example(
    wave: FloatArray,
    row: Sequence[Spoken],
    symbols: PromptSymbols,
    padded_samples: int,
    *,
    initial_silence_samples: int,
    timestamp_share: float,
    rng: np.random.Generator,
) -> Example:
    """Build an example with random silence in front and, for a random share, timestamps.

    Draws two numbers from ``rng``, or one if there is nothing to pad.
    """
    silence = 0
    if len(wave) < padded_samples:
        silence = int(rng.integers(min(padded_samples - len(wave), initial_silence_samples) + 1))
    timestamps = not rng.uniform() > timestamp_share
    shift = round(silence / symbols.samples_per_tick)
    return Example(
        _placed(wave, padded_samples, silence),
        symbols.target(row, timestamps=timestamps, shift=shift),
        _pieces(row),
    )


def validation_example(wave: FloatArray, pieces: tuple[int, ...], symbols: PromptSymbols) -> Example:
    """Build an example without randomness: no silence in front, with timestamps, in the full window."""
    return Example(
        _placed(wave, symbols.window_samples, 0),
        symbols.target((Spoken(pieces, 0, len(wave)),), timestamps=True),
        list(pieces),
    )


def _pieces(row: Sequence[Spoken]) -> list[int]:
    return [piece for spoken in row for piece in spoken.pieces]


def _placed(wave: FloatArray, padded_samples: int, silence: int) -> FloatArray:
    speech = np.zeros(padded_samples, np.float32)
    end = min(silence + len(wave), padded_samples)
    speech[silence:end] = wave[: end - silence]
    return speech
