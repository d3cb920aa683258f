"""Summaries of the voices that a domain was trained on, and which domain an utterance is like.

A summary is a Gaussian over the base's voice points (base/voice.py) of training utterances. As all summaries
are of points of the same base, one look at an utterance by the base alone ranks any number of domains.

The ranking is regularised discriminant analysis (Friedman, "Regularized discriminant analysis", 1989): each
domain's covariance is mixed with the mean of all candidates' and then shrunk towards its diagonal.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ssvd_asr.errors import AdapterError

MAX_WIDTH = 1024
FEWEST_UTTERANCES = 10  # fewer say nothing of how voices vary
LARGEST_CORRELATION = 1.001  # 1, and rounding
MOST_UTTERANCES = 400  # of training data that are heard for a summary, the first ones

# Chosen on validation data of ten domains (docs/results/any-voice.md).
POOLED = 0.9  # share of the mean covariance of all candidates
DIAGONAL = 0.02  # share of the diagonal
SETTLED_S = 3.0  # of speech; the point of a shorter stretch depends on its words, so it says less

Floats = npt.NDArray[np.float64]


class VoiceSummary(BaseModel):
    """Mean and covariance of voice points, as base64 of little-endian numbers.

    Attributes:
        probe: how the points were made, `BaseModel.voice_probe`; points of other probes cannot be compared.
        utterances: how many points there were.
        mean: (r,) float32.
        spread: (r,) float32, standard deviations.
        correlations: (r * (r - 1) / 2,) float16, the lower triangle row by row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    probe: str = Field(min_length=1, max_length=100)
    utterances: Annotated[int, Field(ge=FEWEST_UTTERANCES, le=2**31 - 1)]
    mean: str = Field(max_length=8 * MAX_WIDTH)
    spread: str = Field(max_length=8 * MAX_WIDTH)
    correlations: str = Field(max_length=2 * MAX_WIDTH**2)

    @model_validator(mode="after")
    def _numbers_fit(self) -> VoiceSummary:
        mean, covariance = self.gaussian()
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("the summary of voices holds numbers that are not finite")
        if not (np.diag(covariance) > 0).all():
            raise ValueError("the summary of voices has a number that never varies")
        if np.abs(_unpacked(self.correlations, "<f2")).max(initial=0.0) > LARGEST_CORRELATION:
            raise ValueError("the summary of voices has a correlation above 1")
        return self

    @property
    def width(self) -> int:
        """Return r, the numbers of a point."""
        return len(_unpacked(self.mean, "<f4"))

    @classmethod
    def of(cls, probe: str, points: npt.ArrayLike) -> VoiceSummary:
        """Return the summary of points (utterances, r).

        Raises AdapterError where they are too few, not finite, or a number never varies.
        """
        found = np.asarray(points, dtype=np.float64)
        if found.ndim != 2 or len(found) < FEWEST_UTTERANCES:
            raise AdapterError(f"{len(found)} utterances: a summary of voices needs {FEWEST_UTTERANCES}")
        if not np.isfinite(found).all():
            raise AdapterError("the voice points hold numbers that are not finite")
        spread: Floats = np.std(found, axis=0, ddof=1)
        if not (spread > 0).all():
            raise AdapterError("the utterances are all the same: they say nothing of how voices vary")
        correlations: Floats = np.asarray(np.corrcoef(found.T))
        lower = correlations[np.tril_indices(found.shape[1], -1)]
        return cls(
            probe=probe,
            utterances=len(found),
            mean=_packed(np.mean(found, axis=0), "<f4"),
            spread=_packed(spread, "<f4"),
            correlations=_packed(lower, "<f2"),
        )

    def gaussian(self) -> tuple[Floats, Floats]:
        """Return mean (r,) and covariance (r, r). Raises AdapterError for numbers of other sizes."""
        mean, spread = _unpacked(self.mean, "<f4"), _unpacked(self.spread, "<f4")
        lower = _unpacked(self.correlations, "<f2")
        width = len(mean)
        if not 0 < width <= MAX_WIDTH or len(spread) != width or len(lower) != width * (width - 1) // 2:
            raise AdapterError("the summary of voices has numbers of sizes that do not go together")
        correlations = np.eye(width)
        correlations[np.tril_indices(width, -1)] = lower
        correlations = correlations + np.tril(correlations, -1).T
        return mean, correlations * np.outer(spread, spread)

    @classmethod
    def from_json(cls, text: str | bytes) -> VoiceSummary:
        """Read a summary that stands alone. Raises AdapterError for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise AdapterError(
                f"no summary of voices: {error.errors(include_url=False)[0]['msg']}"
            ) from error


class VoiceRanking:
    """Candidates by how like an utterance is to the voices that each was trained on."""

    def __init__(self, summaries: Mapping[str, VoiceSummary]) -> None:
        """`summaries`: of the candidates by name, all of one probe. Raises AdapterError otherwise."""
        if len({each.probe for each in summaries.values()}) > 1:
            raise AdapterError("summaries of voices of different probes cannot be compared")
        self.names = tuple(summaries)
        gaussians = [each.gaussian() for each in summaries.values()]
        if len({len(mean) for mean, _ in gaussians}) > 1:
            raise AdapterError("summaries of voices of different widths cannot be compared")
        if not gaussians:
            return
        pooled = np.mean([covariance for _, covariance in gaussians], axis=0)
        self._means = np.stack([mean for mean, _ in gaussians])
        roots = []  # L with L L^T = the inverse covariance, so that |L^T y|^2 is y's squared distance
        halves = []
        for _, own in gaussians:
            mixed = (1 - POOLED) * own + POOLED * pooled
            mixed = (1 - DIAGONAL) * mixed + DIAGONAL * np.diag(np.diag(mixed))
            values, vectors = np.linalg.eigh(mixed)
            values = np.maximum(values, values[-1] * 1e-9)  # float16's rounding may make it indefinite
            roots.append(vectors / np.sqrt(values))
            halves.append(0.5 * float(np.log(values).sum()))
        self._roots, self._halves = np.stack(roots), np.asarray(halves)

    def posteriors(self, points: npt.ArrayLike, seconds: Sequence[float]) -> dict[str, float]:
        """Return the probability of each candidate, all equally likely before, for pieces of one recording.

        Args:
            points: (pieces, r).
            seconds: how much of each piece was heard, (pieces,).
        """
        if not self.names:
            return {}
        where = np.average(np.asarray(points, dtype=np.float64), axis=0, weights=seconds)
        away = np.einsum("cij,ci->cj", self._roots, where - self._means)
        logs = -0.5 * (away**2).sum(axis=1) - self._halves
        logs /= max(1.0, SETTLED_S / sum(seconds))
        shares = np.exp(logs - logs.max())
        return dict(zip(self.names, (shares / shares.sum()).tolist(), strict=True))


def _packed(numbers: Floats, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, dtype=kind).tobytes()).decode("ascii")


def _unpacked(text: str, kind: str) -> Floats:
    try:
        data = base64.b64decode(text, validate=True)
        return np.frombuffer(data, dtype=kind).astype(np.float64)
    except (binascii.Error, ValueError) as error:
        raise AdapterError(f"the summary of voices is not base64 of {kind}: {error}") from error
