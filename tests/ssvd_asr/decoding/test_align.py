"""Word times by forced alignment: in order, inside the audio, of the words given and of no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adapters_store.packaged import PACKAGED, builtins
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.tokens import TokenMap
from ssvd_asr.base.window import Clock
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding import align as align_module
from ssvd_asr.decoding.align import Alignment, align
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.transcription import Transcript, transcribe
from tests.random_owsm import SENTENCES, waves

CLOCK = Clock(frame_s=0.1, start_shift_s=-0.02, end_shift_s=0.05)


def heard(tokens: TokenMap, frames: Sequence[int]) -> tuple[Any, Tensor]:
    """A CTC head, and encoder output (T, V) in which it hears these tokens, one a frame."""
    head = nn.Linear(len(tokens), len(tokens))
    with torch.no_grad():
        head.weight.copy_(torch.eye(len(tokens)))
        head.bias.zero_()
    return head, 20 * nn.functional.one_hot(torch.tensor(frames), len(tokens)).float()


def said(tokens: TokenMap, text: str) -> Hypothesis:
    return Hypothesis(tuple(tokens.encode(text)), text, 0.0, 0.0, True)


def align_one(tokens: TokenMap, frames: Sequence[int], text: str, duration_s: float) -> Alignment:
    ctc, encoded = heard(tokens, frames)
    (found,) = align(ctc, [encoded], [said(tokens, text)], [duration_s], tokens, CLOCK)
    return found


def test_words_lie_where_their_pieces_were_heard(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    the, boat = tokens.encode("the"), tokens.encode("boat")
    pause, blank = [tokens.blank] * 8, tokens.blank
    frames = [blank, blank, *the, blank, *boat, *pause, *the, blank]
    found = align_one(tokens, frames, "the boat the", 0.1 * len(frames))
    first, second, third = found.words
    assert [word.word for word in found.words] == ["the", "boat", "the"]
    assert first.start_s == pytest.approx(0.2 - 0.02)
    # A word lasts until the next one, unless there is a pause between them.
    assert first.end_s == second.start_s == pytest.approx(0.1 * (3 + len(the)) - 0.02)
    assert second.end_s == pytest.approx(0.1 * (3 + len(the) + len(boat)) + 0.05)
    assert third.start_s == pytest.approx(0.1 * (len(frames) - len(the) - 1) - 0.02)
    assert all(word.confidence == pytest.approx(1.0, abs=1e-3) for word in found.words)
    assert found.warnings == ()


def test_a_word_said_twice_has_two_times(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    (*_, piece) = boat = tokens.encode("boat")
    frames = [*boat, tokens.blank, *boat, piece, tokens.blank]
    one, two = align_one(tokens, frames, "boat boat", 10.0).words
    assert one.end_s == two.start_s == pytest.approx(0.1 * (len(boat) + 1) - 0.02)


def test_frames_beyond_the_end_of_the_audio_are_not_aligned_to(tiny_base: BaseModel) -> None:
    """Windows are padded, and a head may hear words in the padding."""
    tokens = tiny_base.tokens
    boat = tokens.encode("boat")
    frames = [*[tokens.blank] * 12, *boat]
    found = align_one(tokens, frames, "boat", 0.8)
    (word,) = found.words
    assert word.start_s is not None
    assert word.end_s is not None
    assert 0 <= word.start_s <= word.end_s <= 0.8
    assert word.confidence == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("frames", [1, 5, 20, 35])
def test_a_text_that_cannot_be_aligned_comes_without_times_and_with_a_warning(
    tiny_base: BaseModel, frames: int
) -> None:
    tokens = tiny_base.tokens
    text = SENTENCES[0]
    assert len(tokens.encode(text)) > 35
    found = align_one(tokens, [tokens.blank] * 200, text, 0.1 * frames)
    assert [word.word for word in found.words] == text.split()
    assert all((word.start_s, word.end_s, word.confidence) == (None, None, None) for word in found.words)
    (warning,) = found.warnings
    assert f"{0.1 * frames:.2f} s of audio have {frames}" in warning


def test_a_base_without_a_ctc_head_gives_no_times_and_a_warning(tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    (found,) = align(None, [torch.zeros(9, 4)], [said(tokens, "boat")], [1.0], tokens, CLOCK)
    assert [word.start_s for word in found.words] == [None]
    assert "no CTC head" in found.warnings[0]


def test_no_words_need_no_times(tiny_base: BaseModel) -> None:
    assert align_one(tiny_base.tokens, [tiny_base.tokens.blank], "", 0.1) == Alignment()


@pytest.mark.parametrize("text", SENTENCES)
def test_pieces_are_grouped_into_the_words_of_the_text(tiny_base: BaseModel, text: str) -> None:
    tokens = tiny_base.tokens
    ids = [tokens.time_id(0.1), *tokens.encode(text), tokens.time_id(0.5)]
    groups = tokens.words(ids)
    assert [word for word, _ in groups] == text.split()
    assert [index for _, pieces in groups for index in pieces] == ids[1:-1]


def test_the_clock_is_the_encoders(tiny_base: BaseModel) -> None:
    nano = load_base()
    frames = nano.encode(waves(1)).size(1)
    assert nano.clock(frames) == Clock(0.08, -0.01, 0.08)
    tiny = tiny_base.clock(tiny_base.encode(waves(1)).size(1))
    hop_s = tiny_base.network.frontend.hop_length / 16_000
    assert round(tiny.frame_s / hop_s, 9) in (2, 4, 6, 8)


def test_chunks_of_frames_change_nothing(tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = transcribe(tiny_base, waves(3), word_times=True)
    monkeypatch.setattr(align_module, "CHUNK_BYTES", 1)
    assert _close(whole, transcribe(tiny_base, waves(3), word_times=True))


def test_times_change_no_word(tiny_base: BaseModel) -> None:
    plain = transcribe(tiny_base, waves(3))
    for found, other in zip(transcribe(tiny_base, waves(3), word_times=True), plain, strict=True):
        assert found.hypothesis == other.hypothesis
        assert [word.word for word in found.words] == found.text.split()
        assert other.words == ()
    some = transcribe(tiny_base, waves(3), word_times=[False, True, False])
    assert [bool(found.words) for found in some] == [False, bool(plain[1].text), False]


def test_a_mixed_batch_gives_each_row_the_times_it_has_alone(tmp_path: Path) -> None:
    base = load_base()
    factors = factorize(base, tmp_path, progress=False)
    adapted = adapt(base.network, factors)
    packaged = builtins(PACKAGED)
    loaded = [load_adapter(packaged[name].path, base, factors).adapter for name in ("child", "scottish")]
    stack = CoreStack(adapted.layers, 3, max(core.size(-1) for core in loaded[0].cores().values()))
    for slot, adapter in enumerate(loaded, start=1):
        stack.write(slot, adapter.cores())
    clips = [
        read_audio(path)
        for name in ("child", "scottish")
        for path in sorted((PACKAGED / name / "samples").glob("*.opus"))[:2]
    ]
    slots = [1, 1, 2, 0]

    def say(places: Sequence[int]) -> list[Transcript]:
        return transcribe(
            base, [clips[i] for i in places], adapted=adapted, stack=stack,
            rows=[slots[i] for i in places], word_times=True,
        )  # fmt: skip

    alone = [say([i])[0] for i in range(4)]
    for found, clip in zip(alone, clips, strict=True):
        times = [time for word in found.words for time in (word.start_s, word.end_s)]
        assert len(times) > 4
        assert all(time is not None and 0 <= time <= len(clip) / 16_000 for time in times)
        assert times == sorted(times)  # type: ignore[type-var]
    for order in ([0, 1, 2, 3], [3, 1, 2, 0], [2, 0]):
        assert _close(say(order), [alone[i] for i in order])


def _close(found: Sequence[Transcript], expected: Sequence[Transcript]) -> bool:
    """Whether two lists of transcripts have the same words at the same times."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.warnings == other.warnings
        assert [(w.word, w.start_s, w.end_s) for w in one.words] == [
            (w.word, w.start_s, w.end_s) for w in other.words
        ]
        for word, alike in zip(one.words, other.words, strict=True):
            assert word.confidence == pytest.approx(alike.confidence, abs=1e-3)
    return True
