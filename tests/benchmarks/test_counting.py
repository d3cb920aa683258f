"""What the benchmarks count and fit, on the tiny shape; times are not looked at."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from benchmarks import growth
from benchmarks.subject import Subject, subject
from benchmarks.variety import Case


@pytest.fixture(scope="module")
def tiny() -> Subject:
    return subject("tiny", p=0.4)


def test_a_uniform_draw_has_every_domain_equally_often_and_sorted() -> None:
    drawn = Case(256, 64, "uniform").draw(3)
    assert drawn == sorted(drawn)
    assert set(Counter(drawn).values()) == {4}
    assert set(Case(8, 256, "uniform").draw(0)) <= set(range(1, 257))
    assert Case(8, 256, "uniform").draw(0) != Case(8, 256, "uniform").draw(1)


def test_a_zipf_draw_has_favourites() -> None:
    counts = Counter(Case(10_000, 16, "zipf").draw(0)).most_common()
    assert counts[0][0] == 1
    assert counts[0][1] == pytest.approx(10_000 / sum(1 / i for i in range(1, 17)), rel=0.1)


def test_the_slope_is_the_power() -> None:
    rows: list[growth.Row] = [{"value": x, "encode_s": 3.0 * x**1.5} for x in (1, 2, 4, 8)]
    assert growth.slope_of(rows, "encode_s") == pytest.approx(1.5)


def test_the_subjects_domains_change_what_is_said_and_slot_0_does_not(tiny: Subject) -> None:
    waves, stack = tiny.waves(2), tiny.stack(2)
    plain = tiny.encode(waves)
    with tiny.adapted.mixing(stack, [0, 0]):
        assert torch.equal(tiny.encode(waves), plain)
    with tiny.adapted.mixing(stack, [1, 2]):
        assert not torch.allclose(tiny.encode(waves), plain, atol=1e-3)
    assert tiny.decode(plain, 5).shape == (2, 5)
