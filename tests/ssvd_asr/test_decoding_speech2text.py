"""ESPnet's own Speech2Text is the judge: it loads what we export, and our tokens are its tokens."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from adapters_store.packaged import PACKAGED
from ssvd_asr.audio import read_audio
from ssvd_asr.base.export import export_espnet
from ssvd_asr.base.hub_layout import EMBEDDED
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.decoding.grammar import forbid
from ssvd_asr.decoding.prompt import Prompt
from ssvd_asr.transcription import Transcript, transcribe
from tests.random_owsm import TINY, TINY_OWLS, OwsmShape, waves, write_random_owsm

# Smaller than this, and rounding may have chosen: the cached decoder sums in another order.
SAFE_MARGIN = 1e-4


@pytest.fixture(scope="module")
def espnet() -> Iterator[Any]:
    """The module of Speech2Text; it takes 10-30 s to import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import espnet2.bin.s2t_inference as module

        yield module


@pytest.fixture(scope="module", params=[TINY, TINY_OWLS, EMBEDDED], ids=["ebranchformer", "owls", EMBEDDED])
def pair(
    request: pytest.FixtureRequest, espnet: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BaseModel, Any, list[np.ndarray]]:
    """Our model, Speech2Text on its export, and waves for both."""
    tmp = tmp_path_factory.mktemp("pair")
    if isinstance(request.param, OwsmShape):
        shape = request.param
        base = load_base(write_random_owsm(tmp / "hub", shape, seed=2), device="cpu")
    else:
        base = load_base(request.param, device="cpu")
    config, checkpoint = export_espnet(base, tmp / "exported")
    audio = waves(4, shape) if isinstance(request.param, OwsmShape) else _spoken(4)
    return base, espnet.Speech2Text(config, checkpoint, beam_size=1, ctc_weight=0.0), audio


def _spoken(count: int) -> list[np.ndarray]:
    """Clips that ship with a domain; the base hears speech in them, if not every word."""
    clips = sorted((PACKAGED / "scottish" / "samples").glob("*-test-*.opus"))[:count]
    return [read_audio(clip) for clip in clips]


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
    for ours, wave in zip(transcribe(base, audio, timestamps=timestamps), audio, strict=True):
        theirs = speech2text(wave, predict_time=timestamps)[0]
        _assert_same(base, ours, theirs, prompt_tokens=2 if timestamps else 3)


def test_previous_text_and_task_are_told_alike(pair: Any) -> None:
    base, speech2text, audio = pair
    prompts = [
        Prompt(previous_text="the green boat"),
        Prompt(),
        Prompt(previous_text="<na>"),
        Prompt(timestamps=True),
    ]
    for ours, prompt, wave in zip(transcribe(base, audio, prompts=prompts), prompts, audio, strict=True):
        told = speech2text._build_hyp_primer("<eng>", "<asr>", prompt.timestamps, prompt.previous_text)
        assert prompt.ids(base.tokens) == told
        theirs = speech2text(wave, text_prev=prompt.previous_text, predict_time=prompt.timestamps)[0]
        _assert_same(base, ours, theirs, prompt_tokens=2 if prompt.timestamps else 3)


def test_digital_silence_is_transcribed_as_the_model_says(pair: Any) -> None:
    base, speech2text, _ = pair
    silence = np.zeros(8000, dtype=np.float32)
    _assert_same(base, transcribe(base, [silence])[0], speech2text(silence)[0], prompt_tokens=3)


def test_encoder_output_is_that_of_the_padded_window(pair: Any) -> None:
    base, speech2text, audio = pair
    with torch.no_grad():
        theirs, _ = speech2text._encode(torch.from_numpy(audio[2]).unsqueeze(0), None, None, None)
    torch.testing.assert_close(base.encode([audio[2]]), theirs, atol=1e-6, rtol=1e-5)


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
        ).ids(tokens)
        prefix, said = list(prompt), int(generator.integers(0, 12))
        for _ in range(said):  # a walk along what the grammar itself allows
            scores = torch.zeros(1, len(tokens))
            forbid(scores, {0: prefix}, tokens)
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
