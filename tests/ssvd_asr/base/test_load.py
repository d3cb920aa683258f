"""Every form of a checkpoint loads strictly, to one frozen model with one digest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.export import export_compact, export_espnet
from ssvd_asr.base.weights import fill
from ssvd_asr.errors import BaseModelError, SsvdError
from tests.random_owsm import TINY_OWLS, waves, write_random_owsm

RUN = "exp/s2t_train_random_raw_bpe50000"
CHECKPOINT = f"{RUN}/valid.total_count.ave_5best.till45epoch.pth"


@pytest.fixture
def folder(tiny_owsm_folder: Path, tmp_path: Path) -> Path:
    """A copy that the test may break."""
    return Path(shutil.copytree(tiny_owsm_folder, tmp_path / "copy"))


def _state(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / CHECKPOINT, weights_only=True)
    return state


def _load(folder: Path) -> BaseModel:
    return load_base(folder, device="cpu")


def test_loaded_model_is_frozen_and_in_evaluation_mode(tiny_base: BaseModel) -> None:
    assert not tiny_base.network.training
    assert not any(p.requires_grad for p in tiny_base.network.parameters())
    assert tiny_base.name == "tiny-owsm"
    assert tiny_base.digest.startswith("sha256:")
    assert len(tiny_base.digest) == len("sha256:") + 64


def test_all_forms_of_one_model_have_one_digest(tiny_base: BaseModel, folder: Path, tmp_path: Path) -> None:
    export_compact(tiny_base, tmp_path / "compact")
    config, checkpoint = export_espnet(tiny_base, tmp_path / "exported")
    (tmp_path / "exported").rename(tmp_path / "moved")
    forms = {
        "hub folder": _load(folder),
        "config + checkpoint": load_base(
            "tiny", device="cpu", config=folder / RUN / "config.yaml", checkpoint=folder / CHECKPOINT
        ),
        "safetensors folder": _load(tmp_path / "compact"),
        "exported": load_base(
            device="cpu",
            config=tmp_path / "moved" / config.name,
            checkpoint=tmp_path / "moved" / checkpoint.name,
        ),
        "exported folder": _load(tmp_path / "moved"),
    }
    assert {name: base.digest for name, base in forms.items()} == dict.fromkeys(forms, tiny_base.digest)
    assert forms["config + checkpoint"].name == "tiny"


def test_checkpoint_of_an_older_espnet_is_the_same_model(tiny_base: BaseModel, tmp_path: Path) -> None:
    old = write_random_owsm(tmp_path / "old", legacy_keys=True)
    assert "encoder.embed.out.0.weight" in _state(old)
    assert _load(old).digest == tiny_base.digest


def test_deepspeed_and_lightning_nesting_is_unwrapped(tiny_base: BaseModel, folder: Path) -> None:
    for key in ("module", "state_dict"):
        torch.save({key: torch.load(folder / CHECKPOINT, weights_only=True)}, folder / "nested.pth")
        base = load_base(device="cpu", config=folder / RUN / "config.yaml", checkpoint=folder / "nested.pth")
        assert base.digest == tiny_base.digest


def test_owls_layout_loads_and_encodes(tmp_path: Path) -> None:
    base = _load(write_random_owsm(tmp_path / "owls", TINY_OWLS, exp="exp_owsm"))
    assert base.encode(waves(2, TINY_OWLS)).shape == (2, 49, 32)


def test_bfloat16_is_the_same_model_with_a_float32_front_end(
    tiny_owsm_folder: Path, tiny_base: BaseModel
) -> None:
    half = load_base(tiny_owsm_folder, device="cpu", dtype="bfloat16")
    assert half.digest == tiny_base.digest
    assert {p.dtype for p in half.network.encoder.parameters()} == {torch.bfloat16}
    assert half.network.frontend.logmel.melmat.dtype == half.network.normalize.mean.dtype == torch.float32
    exact, rounded = tiny_base.encode(waves(2)), half.encode(waves(2))
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    "file",
    [
        f"{RUN}/config.yaml",
        CHECKPOINT,
        "data/token_list/bpe_unigram50000/bpe.model",
        "exp/s2t_stats_raw_bpe50000/train/feats_stats.npz",
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(BaseModelError, match=rf"{Path(file).name}.*missing"):
        _load(folder)


@pytest.mark.parametrize(
    ("meta", "named"),
    [
        ("- a", "meta.yaml does not name"),
        ("files: [", "meta.yaml does not name"),
        ("files: {asr_model_file: a.pth}\nyaml_files: {asr_train_config: a.yaml}", "is it an S2T model"),
        ("files: {s2t_model_file: ../../x.pth}\nyaml_files: {s2t_train_config: c.yaml}", "missing|outside"),
        ("files: {s2t_model_file: a.pth}\nyaml_files: {s2t_train_config: /etc/passwd}", "outside its folder"),
    ],
)
def test_an_unusable_meta_yaml_is_named(folder: Path, meta: str, named: str) -> None:
    (folder / "meta.yaml").write_text(meta, encoding="utf-8")
    with pytest.raises(BaseModelError, match=named):
        _load(folder)


def _drop(state: dict[str, Any]) -> None:
    del state["decoder.output_layer.weight"]


def _add(state: dict[str, Any]) -> None:
    state["decoder.stranger"] = torch.zeros(1)


def _reshape(state: dict[str, Any]) -> None:
    state["ctc.ctc_lo.bias"] = state["ctc.ctc_lo.bias"][1:]


def _poison(state: dict[str, Any]) -> None:
    state["encoder.after_norm.weight"][3] = float("nan")


def _train_state(state: dict[str, Any]) -> None:
    state["epoch"] = 3


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_drop, r"1 tensors missing \(decoder.output_layer.weight\)"),
        (_add, r"1 unknown \(decoder.stranger\)"),
        (_reshape, r"ctc.ctc_lo.bias"),
        (_poison, r"NaN or infinite values in encoder.after_norm.weight"),
        (_train_state, r"epoch are not tensors"),
    ],
)
def test_weights_that_do_not_fit_exactly_are_refused(folder: Path, damage: Any, named: str) -> None:
    state = _state(folder)
    damage(state)
    torch.save(state, folder / CHECKPOINT)
    with pytest.raises(BaseModelError, match=named):
        _load(folder)


class _Attack:
    """Unpickling this would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_pickle_that_runs_code_is_refused_unread(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "touched"
    torch.save({"weights": _Attack(target)}, folder / CHECKPOINT)
    with pytest.raises(BaseModelError, match="would run code"):
        _load(folder)
    assert not target.exists()


def test_damaged_files_are_named(folder: Path, tiny_base: BaseModel, tmp_path: Path) -> None:
    whole = (folder / CHECKPOINT).read_bytes()
    (folder / CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BaseModelError, match=r"epoch\.pth is damaged"):
        _load(folder)
    export_compact(tiny_base, tmp_path / "compact")
    (tmp_path / "compact/model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0short")
    with pytest.raises(BaseModelError, match=r"model\.safetensors is damaged"):
        _load(tmp_path / "compact")
    export_compact(tiny_base, tmp_path / "compact")
    (tmp_path / "compact/bpe.model").write_bytes(b"not a model")
    with pytest.raises(BaseModelError, match="not a sentencepiece model"):
        _load(tmp_path / "compact")


def test_what_is_no_model_is_refused_with_the_forms_there_are(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="not 'owsm-nano', a hub tag"):
        load_base("owsm-giant", device="cpu")
    with pytest.raises(BaseModelError, match=r"neither meta\.yaml nor config\.yaml"):
        load_base(tmp_path, device="cpu")
    with pytest.raises(BaseModelError, match="belong together"):
        load_base(device="cpu", config=tmp_path / "config.yaml")
    with pytest.raises(SsvdError, match="device 'tpu'"):
        load_base(tmp_path, device="tpu")
    with pytest.raises(SsvdError, match="dtype 'float16'"):
        load_base(tmp_path, device="cpu", dtype="float16")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_one_value_that_is_not_finite_is_found(value: float, dtype: torch.dtype) -> None:
    network = torch.nn.Linear(40, 50).to(dtype)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fill(network, state, "it")
    state["weight"][31, 7] = value
    with pytest.raises(BaseModelError, match="NaN or infinite values in weight"):
        fill(network, state, "it")


def test_a_tensor_without_values_and_a_count_are_finite() -> None:
    network = torch.nn.BatchNorm1d(3)  # counts its batches
    network.register_buffer("none", torch.empty(0, 4))
    fill(network, dict(network.state_dict()), "it")
