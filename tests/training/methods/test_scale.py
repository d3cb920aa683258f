"""The scale of a trained change: chosen by WER, folded into what is written, and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ssvd_asr.base.model import BaseModel
from ssvd_asr.errors import SsvdError
from tests.training.runs import MakeSession
from training.methods import finish
from training.methods.choices import check_choices
from training.methods.scale import SCALES, ScalableWeights, choose_scale

ONE_EPOCH: dict[str, object] = {"epochs": 1}


@pytest.fixture
def best_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """best_at(s): pretend that the validation data have the lowest WER at scale s."""

    def pretend(scale: float) -> None:
        def chosen(wer_at: Callable[[float], float], report: Callable[[str], None]) -> Any:
            wer_at(scale)
            return choose_scale(lambda factor: abs(factor - scale), report)

        monkeypatch.setattr(finish, "choose_scale", chosen)

    return pretend


def test_the_lowest_wer_chooses_and_of_equal_ones_the_smallest_change() -> None:
    lines: list[str] = []
    wers = {1.0: 0.3, 0.9: 0.2, 0.8: 0.25, 0.7: 0.2, 0.6: 0.4, 0.5: 0.5}
    scale = choose_scale(wers.__getitem__, lines.append)
    assert scale.value == 0.7
    assert scale.as_json() == {
        "scale": 0.7,
        "scale_valid_wer": {"1": 0.3, "0.9": 0.2, "0.8": 0.25, "0.7": 0.2, "0.6": 0.4, "0.5": 0.5},
    }
    assert lines == [
        "scale 0.7, by the WER on validation data (1: 30.00%, 0.9: 20.00%, 0.8: 25.00%, 0.7: 20.00%, "
        "0.6: 40.00%, 0.5: 50.00%)"
    ]


def test_a_run_without_a_given_scale_decodes_the_validation_data_at_every_one(session: MakeSession) -> None:
    result = session("run", ONE_EPOCH, scale=None, scored=False).run()
    assert result["scale_valid_wer"].keys() == {f"{scale:g}" for scale in SCALES}
    assert result["scale_valid_wer"][f"{result['scale']:g}"] == min(result["scale_valid_wer"].values())


@pytest.mark.parametrize("rotation_map", ["first-order", "cayley"])
def test_the_file_holds_the_trained_numbers_times_the_scale_and_says_so(
    session: MakeSession, tmp_path: Path, best_at: Callable[[float], None], rotation_map: str
) -> None:
    from ssvd_asr.adapter.read import inspect_adapter

    best_at(0.6)
    asked: dict[str, Any] = {"rotation_map": rotation_map, "scored": False}
    session("full", ONE_EPOCH, **asked).run()
    session("chosen", ONE_EPOCH, scale=None, **asked).run()
    session("given", ONE_EPOCH, scale=0.6, **asked).run()
    read = {each: load_file(tmp_path / each / "adapter.safetensors") for each in ("full", "chosen", "given")}
    for name, numbers in read["full"].items():
        assert numbers.abs().max() > 0
        torch.testing.assert_close(read["chosen"][name], 0.6 * numbers, rtol=2e-3, atol=1e-6)
        assert torch.equal(read["given"][name], read["chosen"][name])
    told = {each: inspect_adapter(tmp_path / each / "adapter.safetensors").training for each in read}
    assert told["full"]["scale"] == 1.0
    assert told["chosen"]["scale"] == told["given"]["scale"] == 0.6
    assert "scale_valid_wer" in told["chosen"]
    assert "scale_valid_wer" not in told["given"]


def test_whole_weights_lie_between_base_and_trained(base: BaseModel) -> None:
    original = {name: weight.clone() for name, weight in base.network.state_dict().items()}
    trained = {
        name: weight + torch.randn_like(weight) if weight.is_floating_point() else weight
        for name, weight in original.items()
    }
    change = ScalableWeights(base, trained)
    for scale in (0.5, 1.0, 0.0, 1.0):  # in any order, without what the one before has left
        change.at(scale)
        for name, weight in base.network.state_dict().items():
            expected = original[name] + scale * (trained[name] - original[name])
            assert torch.equal(weight, {0.0: original, 1.0: trained}.get(scale, {name: weight})[name])
            torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize(("method", "embedding"), [("lora", True), ("vera", True), ("vera", False)])
def test_peft_s_own_file_has_the_scale_that_the_merged_weights_have(
    session: MakeSession, tmp_path: Path, method: str, embedding: bool
) -> None:
    from ssvd_asr.base.load import load_base

    asked: dict[str, Any] = {"method": method, "k": None, "rank": 4, "embedding": embedding, "scored": False}
    read: dict[str, dict[str, dict[str, Tensor]]] = {}
    for out, scale in (("whole", 1.0), ("half", 0.5)):
        run = session(out, ONE_EPOCH, scale=scale, **asked)
        run.run()
        files = (tmp_path / out / "peft").glob("*/*.safetensors")
        read[out] = {path.parent.name: load_file(path) for path in files}
    written, unscaled = read["half"], read["whole"]
    assert written.keys() == unscaled.keys()
    halved = 0
    for part, state in written.items():
        for name, weight in state.items():
            is_half = torch.equal(weight, 0.5 * unscaled[part][name])
            assert is_half or torch.equal(weight, unscaled[part][name])
            halved += is_half
    base = load_base(run.settings.base, device="cpu").network.state_dict()
    half = load_file(tmp_path / "half/weights.safetensors")
    for name, weight in load_file(tmp_path / "whole/weights.safetensors").items():
        torch.testing.assert_close(half[name] - base[name], 0.5 * (weight - base[name]), rtol=1e-3, atol=1e-6)
    assert halved == len(
        [name for state in unscaled.values() for name in state if "_B" in name or name.endswith("lambda_b")]
    )


def test_what_has_no_scale_is_left_alone_and_none_is_taken_for_it(session: MakeSession) -> None:
    asked: dict[str, Any] = {"method": "dora", "k": None, "rank": 2}
    with pytest.raises(SsvdError, match=r"--scale 0\.5: what --method dora writes has no scale but 1"):
        check_choices(session(scale=0.5, **asked).settings)
    result = session("run", ONE_EPOCH, scale=None, scored=False, **asked).run()
    assert result["scale"] == 1.0
    assert "scale_valid_wer" not in result
