"""CTC prefix scores are ESPnet's, for any rows, in any order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from espnet2.asr.ctc import CTC
from espnet2.legacy.nets.ctc_prefix_score import CTCPrefixScore, CTCPrefixScoreTH

from ssvd_asr.base.rows import Rows
from ssvd_asr.decoding.ctc_prefix import CtcPrefix
from ssvd_asr.errors import BaseModelError

VOCABULARY, WIDTH, FRAMES, BLANK, EOS = 11, 8, 25, 0, 10


@pytest.fixture
def ctc() -> CTC:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        made = CTC(odim=VOCABULARY, encoder_output_size=WIDTH)
        with torch.no_grad():
            made.ctc_lo.weight.mul_(6.0)  # frames that differ
            made.ctc_lo.bias[BLANK] += 1.0
    return made.requires_grad_(False)


def _encoded(utterances: int, frames: int = FRAMES) -> torch.Tensor:
    return torch.randn(utterances, frames, WIDTH, generator=torch.Generator().manual_seed(1))


def _judged(ctc: CTC, encoded: torch.Tensor, prefix: list[int]) -> tuple[np.ndarray, float]:
    """ESPnet's log-probability (V,) of the prefix and each next token, and of the prefix itself."""
    judge = CTCPrefixScore(ctc.log_softmax(encoded.unsqueeze(0))[0].numpy(), BLANK, EOS, np)
    state, score, every = judge.initial_state(), 0.0, np.arange(VOCABULARY)
    for length, token in enumerate(prefix):
        scores, states = judge([EOS, *prefix[:length]], every, state)
        state, score = states[token], scores[token]
    return judge([EOS, *prefix], every, state)[0], score


def _assert_judged(ctc: CTC, encoded: torch.Tensor, prefixes: list[list[int]], scorer: CtcPrefix) -> None:
    """encoded: (R, T, d), a row's own."""
    every = torch.arange(VOCABULARY).expand(len(prefixes), -1)
    gains, ends = scorer.score(every)
    for row, prefix in enumerate(prefixes):
        theirs, before = _judged(ctc, encoded[row], prefix)
        ours = gains[row].clone()
        ours[EOS] = ends[row]
        assert math.isinf(ours[BLANK])
        np.testing.assert_allclose(ours[1:], theirs[1:] - before, atol=2e-4)


def test_scores_are_those_of_espnet_for_every_next_token(ctc: CTC) -> None:
    encoded = _encoded(3)
    scorer = CtcPrefix(ctc.ctc_lo, encoded, blank=BLANK)
    prefixes: list[list[int]] = [[], [], []]
    _assert_judged(ctc, encoded, prefixes, scorer)
    for tokens in ([3, 5, 1], [3, 6, 1], [4, 6, 1], [3, 2, 7]):  # repetitions are told from one long token
        scorer.extend([0, 1, 2], tokens)
        for prefix, token in zip(prefixes, tokens, strict=True):
            prefix.append(token)
        _assert_judged(ctc, encoded, prefixes, scorer)


def test_rows_multiply_leave_and_change_places(ctc: CTC) -> None:
    encoded = _encoded(4)
    scorer = CtcPrefix(ctc.ctc_lo, encoded, blank=BLANK)
    scorer.extend([2, 0, 0, 3, 3, 3], [1, 2, 3, 5, 4, 4])  # utterance 1 leaves
    of = [2, 0, 0, 3, 3, 3]
    prefixes = [[1], [2], [3], [5], [4], [4]]
    _assert_judged(ctc, encoded[of], prefixes, scorer)
    rows, tokens = [5, 0, 4, 3, 0], [4, 9, 5, 2, 1]  # utterance 0 leaves
    scorer.extend(rows, tokens)
    prefixes = [[*prefixes[r], t] for r, t in zip(rows, tokens, strict=True)]
    _assert_judged(ctc, encoded[[of[r] for r in rows]], prefixes, scorer)


def test_scores_are_those_of_espnets_batched_search(ctc: CTC) -> None:
    encoded, tokens = _encoded(2), torch.tensor([[3, 4, EOS], [5, BLANK, 3]])
    judge = CTCPrefixScoreTH(ctc.log_softmax(encoded), torch.tensor([FRAMES, FRAMES]), BLANK, EOS)
    theirs, _ = judge(torch.tensor([[EOS], [EOS]]), None, tokens)
    gains, ends = CtcPrefix(ctc.ctc_lo, encoded, blank=BLANK).score(tokens)
    for row, column in itertools.product(range(2), range(3)):
        if tokens[row, column] not in (BLANK, EOS):
            assert gains[row, column] == pytest.approx(float(theirs[row, tokens[row, column]]), abs=1e-4)
    torch.testing.assert_close(ends.float(), theirs[:, EOS], atol=1e-4, rtol=0.0)


def test_a_prefix_longer_than_the_audio_is_impossible_not_a_number(ctc: CTC) -> None:
    scorer = CtcPrefix(ctc.ctc_lo, _encoded(1, frames=3), blank=BLANK)
    for token in (1, 1):  # the repetition takes a blank between: all three frames
        scorer.extend([0], [token])
    gains, ends = scorer.score(torch.tensor([[1, 2]]))
    assert torch.equal(gains, torch.full((1, 2), -math.inf, dtype=torch.float64))
    assert ends.isfinite().all()


def test_scores_over_a_long_window_are_exact(ctc: CTC) -> None:
    """Log-probabilities add up to thousands here, where float32 keeps three decimals."""
    encoded = _encoded(1, frames=1500)
    scorer = CtcPrefix(ctc.ctc_lo, encoded, blank=BLANK)
    scorer.extend([0], [3])
    gains, _ = scorer.score(torch.tensor([[4]]))
    logp = ctc.log_softmax(encoded)[0].double()
    label, silent = [logp[0, 3]], [torch.tensor(-math.inf, dtype=torch.float64)]
    quiet = logp[:, BLANK].cumsum(0)
    for frame in range(1, 1500):  # the recursion as printed
        label.append(torch.logaddexp(label[-1], quiet[frame - 1]) + logp[frame, 3])
        silent.append(torch.logaddexp(label[frame - 1], silent[-1]) + logp[frame, BLANK])
    before = torch.logaddexp(torch.stack(label), torch.stack(silent))[:-1]
    first = torch.cat([logp[:1, 3], quiet[:-1] + logp[1:, 3]])
    expected = torch.logsumexp(before + logp[1:, 4], 0) - torch.logsumexp(first, 0)
    assert float(gains) == pytest.approx(float(expected), abs=2e-5)


def test_a_head_of_another_build_is_refused(ctc: CTC) -> None:
    ctc.ctc_lo = torch.nn.Sequential(ctc.ctc_lo)
    with pytest.raises(BaseModelError, match="the CTC head is a Sequential"):
        CtcPrefix(ctc.ctc_lo, _encoded(1), blank=BLANK)


def test_spread_rows_come_back() -> None:
    rows = Rows(3, torch.device("cpu"))
    assert rows.keep([2, 0, 2, 2]) == [2, 0]
    x = torch.randn(4, 5)
    grid = rows.spread(x)
    assert grid.shape == (2, 3, 5)
    assert torch.equal(grid[1, 1:], torch.zeros(2, 5))
    assert torch.equal(rows.collect(grid), x)
    assert torch.equal(rows.each(torch.tensor([7, 8])), torch.tensor([7, 8, 7, 7]))
