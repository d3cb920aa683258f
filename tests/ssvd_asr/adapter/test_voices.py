"""Summaries of voices, and whom an utterance is like."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from ssvd_asr.adapter.voices import FEWEST_UTTERANCES, VoiceRanking, VoiceSummary
from ssvd_asr.errors import AdapterError

RANDOM = np.random.default_rng(0)
WIDTH = 6
SPREAD = np.linspace(0.5, 2.0, WIDTH)


def points(at: float, count: int = 200) -> np.ndarray:
    mixed = RANDOM.standard_normal((count, WIDTH)) @ np.tril(np.ones((WIDTH, WIDTH)))
    return np.asarray(mixed * SPREAD + at)


@pytest.fixture(scope="module")
def summaries() -> dict[str, VoiceSummary]:
    return {name: VoiceSummary.of("probe", points(at)) for name, at in (("a", 0.0), ("b", 4.0), ("c", -4.0))}


def test_a_summary_keeps_mean_and_covariance() -> None:
    seen = points(1.0)
    mean, covariance = VoiceSummary.of("probe", seen).gaussian()
    np.testing.assert_allclose(mean, seen.mean(axis=0), rtol=1e-6)
    scale = np.sqrt(np.outer(seen.var(axis=0), seen.var(axis=0)))
    np.testing.assert_allclose(covariance / scale, np.cov(seen.T) / scale, atol=1e-2)


def test_it_is_read_back_from_its_text_to_the_bit(summaries: dict[str, VoiceSummary]) -> None:
    for summary in summaries.values():
        assert VoiceSummary.from_json(summary.model_dump_json()) == summary


def test_new_utterances_are_like_their_own_kind(summaries: dict[str, VoiceSummary]) -> None:
    ranking = VoiceRanking(summaries)
    right = 0
    for name, at in (("a", 0.0), ("b", 4.0), ("c", -4.0)):
        for point in points(at, 50):
            found = ranking.posteriors([point], [4.0])
            assert sum(found.values()) == pytest.approx(1.0)
            right += max(found, key=lambda each: found[each]) == name
    assert right > 0.9 * 150


def test_the_order_of_the_candidates_changes_nothing(summaries: dict[str, VoiceSummary]) -> None:
    point = points(2.0, 1)
    forwards = VoiceRanking(summaries).posteriors(point, [4.0])
    backwards = VoiceRanking(dict(reversed(summaries.items()))).posteriors(point, [4.0])
    assert forwards == pytest.approx(backwards)


def test_pieces_count_by_their_seconds(summaries: dict[str, VoiceSummary]) -> None:
    ranking = VoiceRanking(summaries)
    two = [points(0.0, 1)[0], points(4.0, 1)[0]]
    assert ranking.posteriors(two, [4.0, 1e-9]) == pytest.approx(ranking.posteriors(two[:1], [4.0]))


def test_a_short_stretch_is_less_sure(summaries: dict[str, VoiceSummary]) -> None:
    ranking = VoiceRanking(summaries)
    point = summaries["b"].gaussian()[0]
    sure, unsure = (ranking.posteriors([point], [seconds])["b"] for seconds in (4.0, 0.4))
    assert 1 / 3 < unsure < sure


def test_without_candidates_nothing_is_like_anything() -> None:
    assert VoiceRanking({}).posteriors(points(0.0, 1), [1.0]) == {}


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (points(0.0, FEWEST_UTTERANCES - 1), "needs"),
        (np.full((20, WIDTH), np.nan), "finite"),
        (np.ones((20, WIDTH)), "all the same"),
    ],
)
def test_points_that_say_nothing_are_refused(seen: np.ndarray, why: str) -> None:
    with pytest.raises(AdapterError, match=why):
        VoiceSummary.of("probe", seen)


def edited(**fields: object) -> str:
    good = VoiceSummary.of("probe", points(0.0))
    return good.model_copy(update=fields).model_dump_json()


def packed(numbers: list[float], kind: str) -> str:
    return base64.b64encode(np.asarray(numbers, dtype=kind).tobytes()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        edited(mean="not base64!"),
        edited(mean=packed([1.0], "<f4")),
        edited(mean=packed([float("nan")] * WIDTH, "<f4")),
        edited(spread=packed([0.0] * WIDTH, "<f4")),
        edited(correlations=packed([float("inf")] * (WIDTH * (WIDTH - 1) // 2), "<f2")),
        edited(correlations=packed([1.5] * (WIDTH * (WIDTH - 1) // 2), "<f2")),
        edited(utterances=1),
        edited(probe=""),
    ],
)
def test_a_summary_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(AdapterError, match="summary of voices"):
        VoiceSummary.from_json(text)


def test_points_of_different_makes_are_not_compared(summaries: dict[str, VoiceSummary]) -> None:
    other = summaries["a"].model_copy(update={"probe": "another"})
    with pytest.raises(AdapterError, match="probes"):
        VoiceRanking({"a": other, "b": summaries["b"]})
    narrow = VoiceSummary.of("probe", points(0.0)[:, :3])
    with pytest.raises(AdapterError, match="widths"):
        VoiceRanking({"a": narrow, "b": summaries["b"]})
