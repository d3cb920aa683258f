"""Waves in, words out, through the one path that everything uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter import Adapter
from ssvd_asr.adapter_file import describe_adapter, load_adapter, save_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.decoding.prompt import Prompt
from ssvd_asr.errors import AudioError, AudioTooLongError, SsvdError
from ssvd_asr.factor_cache import factorize
from ssvd_asr.transcription import transcribe
from tests.random_owsm import waves


def test_five_lines_of_python_from_a_file_to_words(tiny_owsm_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "domain.safetensors"
    _save_random_adapter(tiny_owsm_folder, file, tmp_path)
    wave = waves(1)[0]

    base = load_base(tiny_owsm_folder, device="cpu")
    adapted = adapt(base.network, factorize(base, tmp_path))
    domain = load_adapter(file, base)
    with_domain = transcribe(base, [wave], adapted=adapted, cores=domain.adapter.cores())[0]

    without = transcribe(base, [wave], adapted=adapted)[0]
    plain = transcribe(load_base(tiny_owsm_folder, device="cpu"), [wave])[0]
    assert without == plain  # an adapted model without cores is exactly the base
    assert with_domain.hypothesis.token_ids != plain.hypothesis.token_ids


def _save_random_adapter(folder: Path, file: Path, cache: Path) -> None:
    base = load_base(folder, device="cpu")
    factors = factorize(base, cache, progress=False)
    adapter = Adapter.new(factors, k=5)
    generator = torch.Generator().manual_seed(0)
    adapter.load_state({n: 0.4 * torch.randn(t.shape, generator=generator) for n, t in adapter.state.items()})
    save_adapter(file, adapter, metadata=describe_adapter(adapter, base, factors))


def test_padding_is_the_models_business(tiny_base: BaseModel) -> None:
    wave = waves(1)[0][:20_000]
    padded = np.concatenate([wave, np.zeros(28_000, dtype=np.float32)])
    assert transcribe(tiny_base, [wave])[0] == transcribe(tiny_base, [padded])[0]


def test_longer_than_the_window_is_refused_with_both_lengths(tiny_base: BaseModel) -> None:
    with pytest.raises(AudioTooLongError, match=r"3\.50 s is longer than the window of 3 s.*speech_length"):
        transcribe(tiny_base, [np.zeros(56_000, dtype=np.float32)])


def test_no_audio_and_stereo_are_refused(tiny_base: BaseModel) -> None:
    with pytest.raises(AudioError, match="0 waves"):
        transcribe(tiny_base, [])
    with pytest.raises(AudioError, match=r"shape \(100, 2\)"):
        transcribe(tiny_base, [np.zeros((100, 2), dtype=np.float32)])


@pytest.mark.parametrize("samples", [0, 1])
def test_next_to_nothing_has_a_transcript(tiny_base: BaseModel, samples: int) -> None:
    assert len(transcribe(tiny_base, [np.zeros(samples, dtype=np.float32)])) == 1


def test_segments_come_where_times_are_asked_for(tiny_base: BaseModel) -> None:
    audio = waves(3)
    assert all(found.segments == () for found in transcribe(tiny_base, audio))
    timed = transcribe(tiny_base, audio, prompts=[Prompt(timestamps=True)] * 3)
    assert timed == transcribe(tiny_base, audio, timestamps=True)
    assert any(found.segments for found in timed)
    for found in timed:
        for segment in found.segments:
            assert 0 <= segment.start_s <= segment.end_s <= tiny_base.config.window_s


def test_cores_that_would_do_nothing_are_refused(
    tiny_base: BaseModel, tiny_owsm_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SsvdError, match="without the adapted model"):
        transcribe(tiny_base, waves(1), cores={})
    other = load_base(tiny_owsm_folder, device="cpu")
    adapted = adapt(other.network, factorize(other, tmp_path, progress=False))
    with pytest.raises(SsvdError, match="not the network of base"):
        transcribe(tiny_base, waves(1), adapted=adapted)


def test_a_network_in_training_mode_is_refused(tiny_base: BaseModel) -> None:
    tiny_base.network.train()
    with pytest.raises(RuntimeError, match="training mode"):
        transcribe(tiny_base, waves(1))
