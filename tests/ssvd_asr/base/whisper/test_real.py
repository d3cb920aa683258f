"""openai/whisper-base on human speech: the tokens and times of transformers' own `generate`.

Needs the checkpoint in SSVD_WHISPER_BASE, or in ../shared/models/whisper-base, and the LibriVox sentences of
Debian's pocketsphinx-testdata.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.decoding.options import CHECKED, GREEDY, DecodingOptions
from ssvd_asr.scoring import normalise
from ssvd_asr.transcription import transcribe
from tests.rooms import ROOT

FOLDER = Path(os.environ.get("SSVD_WHISPER_BASE", ROOT.parent / "shared" / "models" / "whisper-base"))
SPEECH = Path("/usr/share/pocketsphinx/test/data/librivox")
SENTENCES = [
    "and mr john dashwood had then leisure to consider how much there might be prudently in his power to do "
    "for them",
    "he was not an ill disposed young man",
    "unless to be rather cold hearted and rather selfish is to be ill disposed",
    "had he married a more amiable woman he might have been made still more respectable than he was",
    "he might even have been made amiable himself",
]
pytestmark = [
    pytest.mark.skipif(not (FOLDER / "config.json").is_file(), reason="no whisper-base (SSVD_WHISPER_BASE)"),
    pytest.mark.skipif(not SPEECH.is_dir(), reason="apt-get install pocketsphinx-testdata"),
    pytest.mark.filterwarnings("ignore"),  # transformers' own
]


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return load_base(FOLDER, device="cpu")


@pytest.fixture(scope="module")
def audio() -> list[np.ndarray]:
    return [read_audio(path) for path in sorted(SPEECH.glob("*.wav"))]


@pytest.fixture(scope="module")
def judge() -> Any:
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def features(audio: list[np.ndarray]) -> torch.Tensor:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor.from_pretrained(FOLDER)
    found: torch.Tensor = extractor(audio, sampling_rate=16_000, return_tensors="pt").input_features
    return found


def test_it_hears_the_sentences_word_for_word(base: BaseModel, audio: list[np.ndarray]) -> None:
    found = transcribe(base, audio, options=CHECKED)
    assert [normalise(each.text.replace("-", " ")) for each in found] == SENTENCES
    assert {each.search for each in found} == {"greedy"}


@pytest.mark.parametrize(
    ("options", "prompt", "asked"),
    [
        (GREEDY, Prompt(), {"num_beams": 1}),
        (DecodingOptions("beam", beam_size=5), Prompt(), {"num_beams": 5}),
        (GREEDY, Prompt(timestamps=True), {"num_beams": 1, "return_timestamps": True}),
    ],
    ids=["greedy", "beam", "times"],
)
def test_its_tokens_are_those_of_generate(
    base: BaseModel,
    audio: list[np.ndarray],
    judge: Any,
    features: torch.Tensor,
    options: DecodingOptions,
    prompt: Prompt,
    asked: dict[str, Any],
) -> None:
    found = transcribe(base, audio, prompts=[prompt] * len(audio), options=options)
    for row, each in zip(features, found, strict=True):
        with torch.no_grad():
            ids = judge.generate(row[None], language="en", task="transcribe", do_sample=False, **asked)
        assert [i for i in ids[0].tolist() if i != base.tokens.eos] == list(each.hypothesis.token_ids)


def test_words_begin_where_transformers_finds_them(
    base: BaseModel, audio: list[np.ndarray], judge: Any, features: torch.Tensor
) -> None:
    found = transcribe(base, audio, word_times=True, options=GREEDY)
    for row, wave, each in zip(features, audio, found, strict=True):
        with torch.no_grad():
            given = judge.generate(
                row[None], language="en", task="transcribe", return_token_timestamps=True, do_sample=False,
                num_frames=torch.tensor([len(wave) // 160]),
            )  # fmt: skip
        ids = given["sequences"][0].tolist()
        times = given["token_timestamps"][0].tolist()
        ends = [0.0, *times]  # a token begins where the one before it ends
        place = next(i for i in range(len(ids)) if ids[i] == each.words[0].token_ids[0])
        for word in each.words:
            if place > 1:  # transformers sets the end of the first token to 0
                assert word.start_s == pytest.approx(ends[place], abs=0.1), word
            place += len(word.token_ids)
