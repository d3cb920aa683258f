"""Seams of overlapping pieces: CTC chooses, within bounds, and its frames say what the head says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from ssvd_asr.base.model import BaseModel
from ssvd_asr.decoding.align import TimedWord
from ssvd_asr.decoding.overlap import Heard, own_words
from ssvd_asr.decoding.seam import KEPT_TOKENS, CtcFrames, ctc_frames, likeliest_seam
from ssvd_asr.transcription import transcribe
from tests.random_owsm import waves

FRAME_S = 0.1
WORDS = ["my", "old", "no", "go", "finger", "hurts", "fing", "told"]
IDS = {word: index for index, word in enumerate(WORDS, start=1)}


def timed(*words: tuple[str, float]) -> tuple[TimedWord, ...]:
    """Words of 0.3 s, by their starts (s)."""
    return tuple(TimedWord(word, (IDS[word],), start_s, start_s + 0.3) for word, start_s in words)


def frames(start_s: float, stop_s: float, spoken: Mapping[float, str]) -> CtcFrames:
    """What CTC hears from `start_s` on, by the times of the words."""
    path = torch.zeros(round((stop_s - start_s) / FRAME_S), dtype=torch.long)
    for at_s, word in spoken.items():
        if start_s <= at_s < stop_s:
            path[round((at_s - start_s) / FRAME_S)] = IDS[word]
    size = len(IDS) + 1
    head = nn.Linear(size, size)
    with torch.no_grad():
        head.weight.copy_(torch.eye(size))
        head.bias.zero_()
    encoded = 12 * nn.functional.one_hot(path, size).float()
    return ctc_frames(head, encoded, 0, FRAME_S).shifted(start_s)


def joined(
    left: tuple[TimedWord, ...], right: tuple[TimedWord, ...], spoken: Mapping[float, str] | None
) -> list[str]:
    """Join a piece of [0, 2) and one of [0.4, 3), cut at 1.2 s; without `spoken`, without CTC."""
    ctc = (frames(0.0, 2.0, spoken), frames(0.4, 3.0, spoken)) if spoken else (None, None)
    pieces = Heard(left, None, 1.2, ctc[0]), Heard(right, 1.2, None, ctc[1])
    return [word.word for own in own_words(pieces) for word in own]


def test_a_word_that_both_pieces_have_on_their_far_side_is_not_lost() -> None:
    left, right = timed(("my", 0.0), ("old", 0.5), ("fing", 1.6)), timed(("finger", 0.9), ("hurts", 2.0))
    assert joined(left, right, None) == ["my", "old", "hurts"]
    spoken = {0.1: "my", 0.6: "old", 1.1: "finger", 2.1: "hurts"}
    assert joined(left, right, spoken) == ["my", "old", "finger", "hurts"]


def test_a_word_said_twice_that_each_piece_has_once_is_said_twice() -> None:
    left, right = timed(("my", 0.0), ("no", 0.8)), timed(("no", 0.8), ("go", 2.0))
    assert joined(left, right, None) == ["my", "no", "go"]
    assert joined(left, right, {0.1: "my", 0.9: "no", 1.5: "no", 2.1: "go"}) == ["my", "no", "no", "go"]
    assert joined(left, right, {0.1: "my", 0.9: "no", 2.1: "go"}) == ["my", "no", "go"]


def test_fragments_at_the_edges_are_left_out() -> None:
    left = timed(("my", 0.0), ("old", 0.5), ("finger", 1.0), ("fing", 1.7))
    right = timed(("told", 0.4), ("finger", 1.0), ("hurts", 2.0))
    spoken = {0.1: "my", 0.6: "old", 1.0: "finger", 2.1: "hurts"}
    assert joined(left, right, spoken) == ["my", "old", "finger", "hurts"]


def test_a_word_that_ends_with_what_its_piece_hears_is_no_seam() -> None:
    left, right = timed(("my", 0.0), ("old", 1.2), ("fing", 1.7)), timed(("finger", 1.7), ("hurts", 2.4))
    spoken = {0.1: "my", 1.3: "old", 1.8: "fing", 2.5: "hurts"}  # as the left piece's edge may sound
    assert joined(left, right, spoken) == ["my", "old", "finger", "hurts"]


def test_the_seam_by_the_times_stays_where_ctc_cannot_choose() -> None:
    loop = timed(*[("no", 0.01 * place) for place in range(120)])  # more ways than are scored
    spoken = {0.1: "my", 2.1: "go"}
    go = timed(("go", 2.0))
    for left, right in ((loop, loop), ((), go), ((TimedWord("no", (IDS["no"],)),), go)):
        assert joined(left, right, spoken) == joined(left, right, None)
    short = frames(0.0, 0.3, {}), frames(0.0, 0.3, {})  # too short for a place to go from one to the other
    assert likeliest_seam(loop, loop, 0.1, short, (4, 7)) == (4, 7)


@pytest.mark.parametrize("size", [KEPT_TOKENS, 5 * KEPT_TOKENS])
def test_the_frames_kept_say_what_the_head_says_and_no_token_less(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    encoded, head = torch.randn(7, 6, generator=generator), nn.Linear(6, size)
    logp = torch.log_softmax(head(encoded), dim=-1).detach()
    kept = ctc_frames(head, encoded, 3, FRAME_S)
    assert kept.scores.shape == (7, KEPT_TOKENS)
    found = kept.columns(2, 6, range(size))
    assert torch.equal(found[:, 0], logp[2:6, 3])
    exact = found[:, 1:] == logp[2:6]
    assert (exact.sum(dim=1) >= KEPT_TOKENS).all()
    assert torch.equal(found[:, 1:], torch.maximum(logp[2:6], kept.scores[2:6, -1:]))


def test_what_ctc_heard_is_kept_of_overlapping_pieces_only_and_changes_no_word(tiny_base: BaseModel) -> None:
    audio = [wave[:20_000] for wave in waves(3)]  # 1.25 s
    plain = transcribe(tiny_base, audio)
    found = transcribe(tiny_base, audio, overlaps=[True, False, True])
    assert [each.text for each in found] == [each.text for each in plain]
    assert [each.ctc is not None for each in found] == [True, False, True]
    assert all(each.ctc is None for each in plain)
    assert found[0].ctc is not None
    end_s = len(found[0].ctc) * found[0].ctc.frame_s
    assert end_s - found[0].ctc.frame_s < len(audio[0]) / tiny_base.window.sample_rate_hz <= end_s + 1e-6
