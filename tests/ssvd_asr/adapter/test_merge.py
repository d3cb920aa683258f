"""A merged checkpoint is an ordinary one: Speech2Text hears in it what base and adapter hear here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from adapters_store.packaged import PACKAGED
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.canary import seal_adapter
from ssvd_asr.adapter.forms import CoreForm, Directions
from ssvd_asr.adapter.merge import merge_adapter, with_weights
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.export import export_espnet
from ssvd_asr.base.weights import BASE_DIGEST_KEY
from ssvd_asr.base.window import FloatArray
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.decoding.options import GREEDY
from ssvd_asr.errors import AdapterError, BaseModelError
from ssvd_asr.transcription import transcribe

CLIPS = sorted((PACKAGED / "child" / "samples").glob("*.opus"))[:3]
SMALL, LARGE = 0.01, 0.03  # of random numbers: enough to change what is heard, and no more

# (form, directions, p or None for all, scale of the numbers)
FORMS: dict[str, tuple[CoreForm, Directions, float | None, float]] = {
    "cayley": (CoreForm("cayley"), "head", 0.4, SMALL),
    "tail": (CoreForm("first-order", delta_sigma=False), "tail", 0.4, LARGE),
    "two-sided": (CoreForm("first-order", outer=True), "head", 0.28, SMALL),
    "lora-xs-tail": (CoreForm("lora-xs"), "tail", 0.28, LARGE),
    "svft-top-k": (CoreForm("svft-top-k", off_diagonals=5), "head", None, LARGE),
}


@pytest.fixture(scope="module")
def nano() -> BaseModel:
    return load_base("owsm-nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def waves() -> list[FloatArray]:
    assert len(CLIPS) == 3
    return [read_audio(clip) for clip in CLIPS]


@pytest.fixture(scope="module")
def factors(nano: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LayerFactors]:
    return factorize(nano, tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture
def adapted(nano: BaseModel, factors: dict[str, LayerFactors]) -> Iterator[AdaptedModel]:
    model = adapt(nano.network, factors)
    yield model
    model.restore()


def judged(espnet: Any, merged: BaseModel, folder: Path, waves: list[FloatArray]) -> list[str]:
    """What Speech2Text hears in the checkpoint that a merged base leaves."""
    judge = espnet.Speech2Text(*export_espnet(merged, folder), beam_size=1, ctc_weight=0.0)
    return [judge(wave, predict_time=False)[0][3] for wave in waves]


def written(trained: BaseModel, folder: Path, made_from: str) -> Path:
    """Whole weights as a run leaves them."""
    path = folder / "weights.safetensors"
    state = {name: tensor.contiguous() for name, tensor in trained.network.state_dict().items()}
    save_file(state, path, metadata={BASE_DIGEST_KEY: made_from})
    return path


def test_speech2text_hears_in_the_merged_checkpoint_what_base_and_adapter_hear(
    espnet: Any, nano: BaseModel, waves: list[FloatArray], factors: dict[str, LayerFactors], tmp_path: Path
) -> None:
    alone = [heard.text for heard in transcribe(nano, waves, options=GREEDY)]
    before = {name: tensor.clone() for name, tensor in nano.network.state_dict().items()}
    loaded = load_adapter(PACKAGED / "child" / "adapter.safetensors", nano, factors)
    merged = merge_adapter(nano, loaded, factors)
    assert all(torch.equal(before[name], tensor) for name, tensor in nano.network.state_dict().items())
    adapted = adapt(nano.network, factors)
    found = transcribe(nano, waves, adapted=adapted, cores=loaded.adapter.cores(), options=GREEDY)
    adapted.restore()
    wanted = [heard.text for heard in found]
    assert judged(espnet, merged, tmp_path / "merged", waves) == wanted
    assert wanted != alone  # the base mishears at least one


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_merged_to_what_it_says(
    espnet: Any, nano: BaseModel, waves: list[FloatArray], factors: dict[str, LayerFactors],
    adapted: AdaptedModel, tmp_path: Path, name: str,
) -> None:  # fmt: skip
    form, directions, p, scale = FORMS[name]
    alone = [heard.text for heard in transcribe(nano, waves, options=GREEDY)]
    adapter = Adapter.new(factors, p=p, rotation_map=form, directions=directions)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(std=scale, generator=generator)
    path = tmp_path / "adapter.safetensors"
    seal_adapter(path, adapter, adapted, nano, factors)
    loaded = load_adapter(path, nano, factors)
    found = transcribe(
        nano, waves, adapted=adapted, cores=loaded.adapter.cores(torch.float32), options=GREEDY
    )
    wanted = [heard.text for heard in found]
    adapted.restore()
    merged = merge_adapter(nano, loaded, factors)
    assert judged(espnet, merged, tmp_path / "merged", waves) == wanted
    assert wanted != alone  # else nothing would be shown


def test_whole_weights_are_heard_as_the_network_that_was_trained(
    espnet: Any, nano: BaseModel, waves: list[FloatArray], tmp_path: Path
) -> None:
    trained = load_base("owsm-nano", device="cpu", dtype="float32")
    alone = [heard.text for heard in transcribe(trained, waves, options=GREEDY)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trained.network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    wanted = [heard.text for heard in transcribe(trained, waves, options=GREEDY)]
    path = written(trained, tmp_path, made_from=nano.digest)
    merged, _ = with_weights(load_base("owsm-nano", device="cpu", dtype="float32"), path)
    assert judged(espnet, merged, tmp_path / "merged", waves) == wanted
    assert wanted != alone


def test_weights_trained_from_another_base_are_refused(tiny_base: BaseModel, tmp_path: Path) -> None:
    path = written(tiny_base, tmp_path, made_from="sha256:another")
    with pytest.raises(BaseModelError, match=r"were trained from base sha256:another; this base is sha256:"):
        with_weights(tiny_base, path)


def test_a_base_in_half_precision_is_not_merged(tiny_base: Any) -> None:
    tiny_base.dtype = torch.bfloat16
    with pytest.raises(AdapterError, match="load it in float32"):
        merge_adapter(tiny_base, None, {})  # type: ignore[arg-type]
