"""CTC's probability of a transcript is the sum over its alignments, and its doubt tells loops from words."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from adapters_store.packaged import PACKAGED, builtins
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.decoding.best_path import collapsed
from ssvd_asr.decoding.ctc_judge import CtcJudge
from ssvd_asr.decoding.options import DOUBT_NATS, GREEDY
from ssvd_asr.transcription import transcribe
from tests.devices import DEVICES

VOCABULARY, FRAMES, WIDTH = 4, 5, 6


class Few:
    """A token map of four tokens."""

    blank = 0

    def __len__(self) -> int:
        return VOCABULARY


@pytest.fixture(params=DEVICES)
def judged(request: pytest.FixtureRequest) -> tuple[CtcJudge, torch.Tensor]:
    """A judge of three rows, and the log-probabilities (3, T, V) that it reads."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY)
    with torch.no_grad():
        head.weight.copy_(2 * torch.randn(VOCABULARY, WIDTH, generator=generator))
    head.to(request.param)
    encoded = torch.randn(3, FRAMES, WIDTH, generator=generator).to(request.param)
    tokens: Any = Few()
    with torch.no_grad():
        return CtcJudge(head, encoded, tokens), torch.log_softmax(head(encoded), dim=-1).cpu().double()


def by_hand(scores: torch.Tensor, said: tuple[int, ...]) -> float:
    """Sum over all paths (T,) of one row that collapse to these tokens."""
    paths = itertools.product(range(VOCABULARY), repeat=FRAMES)
    sums = [
        float(scores[torch.arange(FRAMES), torch.tensor(path)].sum())
        for path in paths
        if collapsed(list(path), 0) == said
    ]
    return float(torch.logsumexp(torch.tensor(sums, dtype=torch.float64), 0)) if sums else -math.inf


@pytest.mark.parametrize(
    "said", [((1,), (), (2, 2)), ((1, 2, 3), (3, 3, 3), (1, 1, 1, 2)), ((1, 2, 1, 2, 1), (2,), (1, 3, 1))]
)
def test_a_probability_is_the_sum_over_all_alignments(
    judged: tuple[CtcJudge, torch.Tensor], said: tuple[tuple[int, ...], ...]
) -> None:
    judge, scores = judged
    expected = [by_hand(row, tokens) for row, tokens in zip(scores, said, strict=True)]
    assert judge.log_probability(said).tolist() == pytest.approx(expected, abs=1e-4)


def test_what_has_no_alignment_is_impossible(judged: tuple[CtcJudge, torch.Tensor]) -> None:
    judge, _ = judged
    assert judge.log_probability([(1, 1, 1, 1)] * 3).tolist() == [-math.inf] * 3
    assert judge.doubt([(1, 1, 1, 1)] * 3) == [math.inf] * 3


def test_the_best_path_is_not_doubted(judged: tuple[CtcJudge, torch.Tensor]) -> None:
    judge, scores = judged
    assert judge.best == [collapsed(row.argmax(-1).tolist(), 0) for row in scores]
    assert judge.doubt(judge.best) == [0.0] * 3


def test_a_loop_of_the_decoder_is_doubted_and_cured() -> None:
    """Shipped clips of the child domain that the base, greedily, answers with one word many times."""
    base = load_base(device="cpu", dtype="float32")
    folder = builtins(PACKAGED)["child"].path.parent / "samples"
    waves = [read_audio(path) for path in sorted(folder.glob("child-test-*.opus"))]
    plain = transcribe(base, waves, options=GREEDY)
    checked = transcribe(base, waves)
    loops = [row for row, each in enumerate(plain) if _repeats(each.text) >= 10]
    assert loops, "the clip with a loop has gone: take another one"
    for row in loops:
        assert plain[row].doubt_nats > DOUBT_NATS  # type: ignore[operator]
        assert checked[row].search == "beam"
    assert max(_repeats(each.text) for each in checked) < 10


def _repeats(text: str) -> int:
    """How often the same word stands in a row at most."""
    return max((len(list(group)) for _, group in itertools.groupby(text.split())), default=0)
