"""Targets are those of ESPnet's S2TPreprocessor, token for token and sample for sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ssvd_asr.base.model import BaseModel
from training.prompts import PromptSymbols, training_example, validation_example

TEXT = "the small boat turned"
SILENCE_S = 1.0


def espnet(base: BaseModel, train: bool) -> Any:
    from espnet2.train.preprocessor import S2TPreprocessor

    conf = base.config.section("preprocessor_conf") | {"speech_init_silence": SILENCE_S}
    return S2TPreprocessor(
        train=train,
        token_type="bpe",
        token_list=list(base.config.token_list),
        bpemodel=str(base.config.bpe_model),
        **conf,
    )


def written(seconds: float) -> str:
    """As OWSM's data preparation writes an utterance."""
    return f"<eng><asr><0.00> {TEXT}<{round(seconds / 0.02) * 0.02:.2f}>"


@pytest.mark.parametrize("seconds", [0.5, 1.23, 2.0, 2.9999375, 3.0])
def test_training_targets_and_audio_equal_those_of_s2t_preprocessor(
    base: BaseModel, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = PromptSymbols.of(base.config, base.tokens)
    preprocessor = espnet(base, train=True)
    wave = np.random.default_rng(0).uniform(-1, 1, round(seconds * 16_000)).astype(np.float32)
    pieces = tuple(base.tokens.encode(TEXT))
    timed = 0
    for seed in range(20):
        theirs_rng = np.random.default_rng(seed)
        monkeypatch.setattr(np.random, "randint", lambda high, rng=theirs_rng: int(rng.integers(high)))
        monkeypatch.setattr(np.random, "uniform", lambda rng=theirs_rng: rng.uniform())
        theirs = preprocessor(
            "id", {"speech": wave, "text": written(seconds), "text_prev": "<na>", "text_ctc": TEXT}
        )
        ours = training_example(
            wave,
            pieces,
            symbols,
            symbols.window_samples,
            initial_silence_samples=round(SILENCE_S * 16_000),
            timestamp_share=0.5,
            rng=np.random.default_rng(seed),
        )
        assert ours.text == theirs["text"].tolist()
        assert ours.text_ctc == theirs["text_ctc"].tolist()
        assert theirs["text_prev"].tolist()[-1] == symbols.na
        np.testing.assert_array_equal(ours.speech, theirs["speech"][:, 0])
        timed += symbols.notimestamps not in ours.text
    assert 0 < timed < 20  # both kinds were compared


def test_validation_targets_equal_those_of_s2t_preprocessor(base: BaseModel) -> None:
    symbols = PromptSymbols.of(base.config, base.tokens)
    wave = np.ones(20_000, np.float32)
    theirs = espnet(base, train=False)(
        "id", {"speech": wave, "text": written(1.25), "text_prev": "<na>", "text_ctc": TEXT}
    )
    ours = validation_example(wave, tuple(base.tokens.encode(TEXT)), symbols)
    assert ours.text == theirs["text"].tolist()
    np.testing.assert_array_equal(ours.speech, theirs["speech"][:, 0])


def test_times_never_pass_the_last_symbol(base: BaseModel) -> None:
    """Half ticks of speech and of silence both round up: one tick more than the window has."""
    symbols = PromptSymbols.of(base.config, base.tokens)
    ticks = symbols.last_time - symbols.first_time
    half = symbols.samples_per_tick // 2
    target = symbols.target((5,), symbols.samples_per_tick + half, timestamps=True, shift=ticks - 1)
    assert target[-1] == symbols.last_time
    assert target[2] == symbols.last_time - 1
