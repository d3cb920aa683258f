"""Tokens, features and rules are those of transformers' own Whisper in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssvd_asr.base.load import load_base
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.whisper.model import WhisperModel
from ssvd_asr.decoding.options import GREEDY, DecodingOptions
from ssvd_asr.transcription import transcribe
from tests.random_whisper import POSITIONS

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own

BEAM = DecodingOptions("beam", beam_size=4)


def waves(count: int, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        np.float32(0.1) * generator.standard_normal(int(length)).astype(np.float32)
        for length in generator.integers(8_000, 64_000, count)
    ]


@pytest.fixture(scope="module")
def base(whisper_folder: Path) -> WhisperModel:
    found = load_base(whisper_folder, device="cpu")
    assert isinstance(found, WhisperModel)
    return found


def network(folder: Path) -> Any:
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(folder).eval()


def features(folder: Path, audio: Sequence[np.ndarray]) -> torch.Tensor:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    found: torch.Tensor = extractor(audio, sampling_rate=16_000, return_tensors="pt").input_features
    return found


def said(base: WhisperModel, folder: Path, audio: Sequence[np.ndarray], prompt: Prompt, beams: int) -> Any:
    """What transformers' search says for each wave alone, after our prompt and by its logits processors.

    Whisper's own `generate` would go on where a time is said before the end of the window: see test_real.py.
    """
    from transformers import GenerationConfig
    from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor
    from transformers.generation.utils import GenerationMixin

    judge, told = network(folder), base.tokens.prompt_ids(prompt)
    given = judge.generation_config
    processors = [WhisperTimeStampLogitsProcessor(given, begin_index=len(told))] if prompt.timestamps else []
    config = GenerationConfig(
        max_length=POSITIONS, num_beams=beams, do_sample=False, eos_token_id=given.eos_token_id,
        pad_token_id=given.pad_token_id, decoder_start_token_id=given.decoder_start_token_id,
        suppress_tokens=given.suppress_tokens, begin_suppress_tokens=given.begin_suppress_tokens,
    )  # fmt: skip
    judge.generation_config = config
    rows = []
    for row in features(folder, audio):
        with torch.no_grad():
            ids = GenerationMixin.generate(
                judge, row[None], generation_config=config, logits_processor=processors,
                decoder_input_ids=torch.tensor([told]),
            )[0].tolist()  # fmt: skip
        rows.append([index for index in ids[len(told) :] if index != base.tokens.eos])
    return rows


def test_features_are_the_feature_extractors(base: WhisperModel, whisper_folder: Path) -> None:
    audio = waves(3)
    padded = torch.zeros(3, base.window.samples)
    base.window.fill(padded.numpy(), audio, "tiny")
    assert torch.equal(base._features(padded), features(whisper_folder, audio))


def test_the_encoder_is_transformers_own_on_whole_windows(base: WhisperModel, whisper_folder: Path) -> None:
    audio = waves(2)
    with torch.no_grad():
        expected = network(whisper_folder).model.encoder(features(whisper_folder, audio)).last_hidden_state
    assert torch.equal(base.encode(audio), expected)


@pytest.mark.parametrize("options", [GREEDY, BEAM], ids=lambda each: each.method)
@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(),
        Prompt("<nld>", "<st_eng>"),
        Prompt("<deu>", timestamps=True),
        Prompt(previous_text="the small boat"),
    ],
    ids=["transcribe", "translate", "times", "previous"],
)
def test_a_batch_says_what_transformers_says_for_each_wave_alone(
    base: WhisperModel, whisper_folder: Path, prompt: Prompt, options: DecodingOptions
) -> None:
    audio = waves(5)
    found = transcribe(base, audio, prompts=[prompt] * 5, options=options)
    beams = options.beam_size if options.method == "beam" else 1
    expected = said(base, whisper_folder, audio, prompt, beams)
    assert [list(each.hypothesis.token_ids) for each in found] == expected
    assert len({tuple(row) for row in expected}) > 1  # it does hear


def test_a_base_that_knows_english_only_gets_no_language(english_folder: Path) -> None:
    base, audio = load_base(english_folder, device="cpu"), waves(4)
    assert isinstance(base, WhisperModel)
    assert list(base.tokens.languages) == ["<eng>"]
    assert base.tokens.prompt_ids(Prompt()) == [base.tokens.sos, base.tokens.notime]
    found = transcribe(base, audio, options=GREEDY)
    expected = said(base, english_folder, audio, Prompt(), 1)
    assert [list(each.hypothesis.token_ids) for each in found] == expected


def test_the_language_is_the_one_that_transformers_detects(base: WhisperModel, whisper_folder: Path) -> None:
    audio = waves(5)
    found = transcribe(base, audio, language="<auto>", options=GREEDY)
    with torch.no_grad():
        ids = network(whisper_folder).detect_language(features(whisper_folder, audio)).tolist()
    assert [base.tokens.languages[each.language] for each in found] == ids


def test_rules_for_times_are_those_of_the_logits_processors(base: WhisperModel) -> None:
    from transformers.generation.logits_process import (
        SuppressTokensAtBeginLogitsProcessor,
        SuppressTokensLogitsProcessor,
        WhisperTimeStampLogitsProcessor,
    )

    config, tokens = base.network.generation_config, base.tokens
    prompt = tokens.prompt_ids(Prompt(timestamps=True))
    begin = len(prompt)
    processors = [
        SuppressTokensAtBeginLogitsProcessor(config.begin_suppress_tokens, begin_index=begin),
        SuppressTokensLogitsProcessor(config.suppress_tokens),
        WhisperTimeStampLogitsProcessor(config, begin_index=begin),
    ]
    generator = torch.Generator().manual_seed(3)
    ends = 0
    for _ in range(40):
        prefix = list(prompt)
        for _ in range(12):
            scores = torch.log_softmax(2 * torch.randn(1, len(tokens), generator=generator), dim=-1)
            scores[:, tokens.first_time :] += float(torch.randn((), generator=generator)) - 1.0
            expected = scores.clone()
            for processor in processors:
                expected = processor(torch.tensor([prefix]), expected)
            base.forbid(scores, [prefix], [None])
            assert torch.equal(torch.isinf(scores), torch.isinf(expected)), prefix
            chosen = int(torch.multinomial(torch.softmax(scores, dim=-1), 1, generator=generator))
            if chosen == tokens.eos:
                ends += 1
                break
            prefix.append(chosen)
    assert ends


def test_no_time_is_later_than_the_rows_last(base: WhisperModel) -> None:
    prompt = Prompt(timestamps=True, audio_s=1.0)
    last = prompt.last_time(base.tokens)
    assert last == base.tokens.first_time + 50
    scores = torch.zeros(1, len(base.tokens))
    base.forbid(scores, [base.tokens.prompt_ids(prompt)], [last])
    assert math.isinf(float(scores[0, last + 1]))
    assert math.isfinite(float(scores[0, last]))
