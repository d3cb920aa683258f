"""Rows of a pass through the data: single utterances, and several joined in random order."""

from __future__ import annotations

import math

import numpy as np

from training.corpus.dataset import Dataset
from training.corpus.joining import MAX_GAP_SAMPLES

Row = tuple[int, ...]  # the utterances of a row by their index in the data, in the order they are heard

_FULL_SHARE = 0.8  # of the window, which a joined row may fill
_END_PROBABILITY = 0.6  # that a row of two or more utterances ends after an addition


class Rows:
    """The rows of any pass, and the shortest padding of each row."""

    def __init__(
        self,
        data: Dataset,
        joined_share: float,
        window_samples: int,
        window_frames: int,
        most_pieces: int | None = None,
    ) -> None:
        """Take the limits of the base; `most_pieces` is that of `Rules`."""
        self._samples = [sample.samples for sample in data.samples]
        self._frames = [sample.frames_needed for sample in data.samples]
        self._pieces = [len(sample.pieces) for sample in data.samples]
        self._most_pieces = most_pieces
        self._joined = round(joined_share * len(data.samples))
        self._window_samples = window_samples
        self._per_frame = math.ceil(window_samples / window_frames)

    def of_pass(self, rng: np.random.Generator) -> list[Row]:
        """Return rows that hold every utterance once: the single ones in the data's order, then the others.

        An utterance drawn for joining may stay alone, if its neighbours in the random order do not fit.
        """
        drawn = rng.permutation(len(self._samples))[: self._joined].tolist()
        chosen = set(drawn)
        rows: list[Row] = [(index,) for index in range(len(self._samples)) if index not in chosen]
        row: Row = ()
        for index in drawn:
            if row and not self._joinable((*row, index)):
                rows.append(row)
                row = ()
            row = (*row, index)
            if len(row) > 1 and rng.uniform() < _END_PROBABILITY:
                rows.append(row)
                row = ()
        return [*rows, row] if row else rows

    def length(self, row: Row) -> int:
        """Return the shortest padding of a row in samples, at most the window."""
        return min(self._window_samples, max(self._audio(row), self._for_ctc(row)))

    def _joinable(self, row: Row) -> bool:
        short = self._audio(row) <= _FULL_SHARE * self._window_samples
        return short and self._sayable(row) and self._for_ctc(row) <= self._window_samples

    def _sayable(self, row: Row) -> bool:
        """Return whether the decoder can say the row's pieces and the times of every joint."""
        if self._most_pieces is None:
            return True
        return sum(self._pieces[index] for index in row) + 2 * (len(row) - 1) <= self._most_pieces

    def _audio(self, row: Row) -> int:
        """Return the most samples of the row's audio: nothing trimmed, every gap the longest."""
        return sum(self._samples[index] for index in row) + (len(row) - 1) * MAX_GAP_SAMPLES

    def _for_ctc(self, row: Row) -> int:
        """Return samples with enough frames for the CTC, plus two for the edges of the front end.

        Each joint needs at most one more frame: a blank, if the pieces beside it are equal.
        """
        frames = sum(self._frames[index] for index in row) + len(row) - 1
        return (frames + 2) * self._per_frame
