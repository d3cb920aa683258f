"""A checkpoint is what it is in any container; what is damaged or foreign is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssvd_asr.base.load import load_base
from ssvd_asr.base.whisper import files
from ssvd_asr.errors import AudioTooLongError, BaseModelError
from tests.ssvd_asr.base.whisper.test_generate import waves


@pytest.fixture
def folder(whisper_folder: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(whisper_folder, tmp_path / "copy"))


def change(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_weights_in_parts_or_with_the_tied_tensor_twice_have_the_same_digest(
    whisper_folder: Path, folder: Path
) -> None:
    digest = load_base(whisper_folder, device="cpu").digest
    state = load_file(folder / "model.safetensors")
    twice = {**state, "proj_out.weight": state["model.decoder.embed_tokens.weight"].clone()}
    save_file(twice, folder / "model.safetensors")
    assert load_base(folder, device="cpu").digest == digest
    (folder / "model.safetensors").unlink()
    parts = {f"model-0000{1 + index % 2}-of-00002.safetensors": {} for index in range(2)}
    where = {}
    for index, (name, tensor) in enumerate(state.items()):
        file = list(parts)[index % 2]
        parts[file][name], where[name] = tensor, file
    for file, held in parts.items():
        save_file(held, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    assert load_base(folder, device="cpu").digest == digest
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(BaseModelError, match="lacks model-00002-of-00002"):
        load_base(folder, device="cpu")


def test_what_it_says_and_how_is_part_of_the_digest(whisper_folder: Path, folder: Path) -> None:
    digests = {load_base(whisper_folder, device="cpu").digest}
    change(folder / "generation_config.json", suppress_tokens=[5])
    digests.add(load_base(folder, device="cpu").digest)
    state = load_file(folder / "model.safetensors")
    state["model.encoder.conv1.bias"][0] += 1.0
    save_file(state, folder / "model.safetensors")
    digests.add(load_base(folder, device="cpu").digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), "lacks tokenizer.json"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"1234"), "is damaged"),
        (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda f: (f / "generation_config.json").write_text("[1]"), "not a mapping"),
        (lambda f: change(f / "config.json", encoder_layers=3), "does not fit its config"),
        (lambda f: change(f / "config.json", num_mel_bins=24), "does not fit|mels"),
        (lambda f: change(f / "preprocessor_config.json", sampling_rate=8000), "sampling_rate 8000"),
        (lambda f: change(f / "preprocessor_config.json", chunk_length=30), "does not hold the times"),
        (
            lambda f: change(f / "generation_config.json", alignment_heads=[[9, 0]]),
            "heads the model lacks",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_what_is_wrong(folder: Path, damage: Any, said: str) -> None:
    damage(folder)
    with pytest.raises(BaseModelError, match=said):
        load_base(folder, device="cpu")


def test_a_weight_that_is_not_finite_is_refused(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["model.encoder.conv1.bias"][0] = torch.nan
    save_file(state, folder / "model.safetensors")
    with pytest.raises(BaseModelError, match=r"NaN or infinite values in model\.encoder\.conv1\.bias"):
        load_base(folder, device="cpu")


def test_audio_longer_than_the_window_names_the_setting(whisper_folder: Path) -> None:
    base = load_base(whisper_folder, device="cpu")
    with pytest.raises(AudioTooLongError, match=r"window of 4 s .*chunk_length in its preprocessor_config"):
        base.encode([waves(1)[0].repeat(20)])


def test_a_folder_of_another_family_is_no_whisper(tmp_path: Path) -> None:
    assert not files.is_whisper(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    assert not files.is_whisper(tmp_path)
    (tmp_path / "config.json").write_text("no JSON")
    assert not files.is_whisper(tmp_path)
