"""ESPnet's own Speech2Text is the judge: it loads what we export, and our tokens are its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.grammar import forbid
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.options import GREEDY
from ssvd_asr.transcription import Transcript, transcribe
from tests.random_owsm import LONG_TEXT
from tests.ssvd_asr.judged import SAFE_MARGIN, Judged


@pytest.fixture(scope="module")
def pair(judged: Judged, espnet: Any) -> tuple[BaseModel, Any, Sequence[np.ndarray]]:
    """Our model, a greedy Speech2Text on its export, and waves for both."""
    speech2text = espnet.Speech2Text(judged.config, judged.checkpoint, beam_size=1, ctc_weight=0.0)
    return judged.base, speech2text, judged.audio


def _assert_same(base: BaseModel, ours: Transcript, theirs: Any, prompt_tokens: int) -> None:
    """Equal tokens, text and score, unless two tokens were as good as each other."""
    _, _, ids, text, hypothesis = theirs
    spoken = tuple(index for index in ids[prompt_tokens:] if index != base.tokens.eos)
    found = ours.hypothesis
    if found.token_ids != spoken and found.margin < SAFE_MARGIN:
        pytest.skip(f"a tie: the best two scores were {found.margin:.1e} apart")
    assert found.token_ids == spoken
    assert found.text == text
    assert found.score == pytest.approx(float(hypothesis.score), abs=1e-3)


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_batch_gives_the_tokens_of_each_wave_alone_in_speech2text(pair: Any, timestamps: bool) -> None:
    base, speech2text, audio = pair
    for ours, wave in zip(transcribe(base, audio, timestamps=timestamps, options=GREEDY), audio, strict=True):
        theirs = speech2text(wave, predict_time=timestamps)[0]
        _assert_same(base, ours, theirs, prompt_tokens=2 if timestamps else 3)


def test_previous_text_and_task_are_told_alike(pair: Any) -> None:
    base, speech2text, audio = pair
    prompts = [
        Prompt(previous_text="the green boat"),
        Prompt(),
        Prompt(previous_text="<na>"),
        Prompt(timestamps=True),
        Prompt(previous_text=LONG_TEXT),
        Prompt(timestamps=True, previous_text=LONG_TEXT),
    ]
    audio = [*audio, *audio[:2]]
    for ours, prompt, wave in zip(
        transcribe(base, audio, prompts=prompts, options=GREEDY), prompts, audio, strict=True
    ):
        told = speech2text._build_hyp_primer("<eng>", "<asr>", prompt.timestamps, prompt.previous_text)
        assert base.tokens.prompt_ids(prompt) == told
        theirs = speech2text(wave, text_prev=prompt.previous_text, predict_time=prompt.timestamps)[0]
        _assert_same(base, ours, theirs, prompt_tokens=2 if prompt.timestamps else 3)


def test_digital_silence_is_transcribed_as_the_model_says(pair: Any) -> None:
    base, speech2text, _ = pair
    silence = np.zeros(8000, dtype=np.float32)
    _assert_same(
        base, transcribe(base, [silence], options=GREEDY)[0], speech2text(silence)[0], prompt_tokens=3
    )


def test_encoder_output_is_that_of_the_padded_window(pair: Any) -> None:
    base, speech2text, audio = pair
    with torch.no_grad():
        theirs, _ = speech2text._encode(torch.from_numpy(audio[2]).unsqueeze(0), None, None, None)
    torch.testing.assert_close(base.encode([audio[2]]), theirs, atol=1e-5, rtol=1e-4)


def test_grammar_forbids_what_score_filter_forbids(espnet: Any, tiny_base: BaseModel) -> None:
    tokens = tiny_base.tokens
    judge = espnet.ScoreFilter(
        notimestamps=tokens.notime, first_time=tokens.first_time, last_time=tokens.last_time, sos=tokens.sos,
        eos=tokens.eos, vocab_size=len(tokens),
    )  # fmt: skip
    generator = np.random.default_rng(5)
    checked = 0
    for _ in range(120):
        prompt = Prompt(
            timestamps=bool(generator.random() < 0.8),
            previous_text="old boat" if generator.random() < 0.3 else None,
        )
        prefix, said = tokens.prompt_ids(prompt), int(generator.integers(0, 12))
        for _ in range(said):  # a walk along what the grammar itself allows
            scores = torch.zeros(1, len(tokens))
            forbid(scores, [prefix], tokens)
            judged, _ = judge.batch_score(torch.tensor([prefix]), [None], torch.zeros(1, 1, 1))
            assert torch.equal(scores.isneginf(), judged.isneginf())
            allowed = scores[0].isfinite().nonzero().flatten().tolist()
            times = [index for index in allowed if tokens.is_time(index)]
            choice = times if times and generator.random() < 0.4 else allowed
            prefix.append(int(generator.choice(choice)))
            checked += 1
            if prefix[-1] == tokens.eos:
                break
    assert checked > 200
