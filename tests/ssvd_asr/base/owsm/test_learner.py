"""Training mode is the recipe's, and leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ssvd_asr.base.owsm.learner import training_mode, validation_mode
from ssvd_asr.base.owsm.model import OwsmModel
from ssvd_asr.base.spec_augment import spec_augment
from training.recipe import NANO, OWSM


def state(network: nn.Module) -> dict[str, object]:
    modes = {name: module.training for name, module in network.named_modules()}
    rates = {f"{name}.p": m.p for name, m in network.named_modules() if isinstance(m, nn.Dropout)}
    rates |= {
        f"{name}.p2": m.dropout_rate for name, m in network.named_modules() if hasattr(m, "dropout_rate")
    }
    criterion = network.get_submodule("criterion_att")
    loss = (network.ctc_weight, criterion.smoothing, criterion.confidence)
    return {**modes, **rates, "loss": loss, "specaug": getattr(network, "specaug", None)}


def test_the_network_is_put_back_even_after_an_error(tiny_base: OwsmModel) -> None:
    before = state(tiny_base.network)
    recipe = OWSM.changed(ctc_weight=0.7, label_smoothing=0.2, dropout=0.5)
    inside: dict[str, object] = {}

    def fail() -> None:
        with training_mode(tiny_base.network, recipe):
            inside.update(state(tiny_base.network))
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert inside["loss"] == (0.7, 0.2, 0.8)
    assert inside["specaug"] is not None
    assert {value for name, value in inside.items() if name.endswith((".p", ".rate"))} == {0.5}
    assert state(tiny_base.network) == before


def test_dropout_is_the_bases_own_unless_the_recipe_says_so(tiny_base: OwsmModel) -> None:
    with training_mode(tiny_base.network, OWSM):
        rates = {m.p for m in tiny_base.network.modules() if isinstance(m, nn.Dropout) and m.p > 0}
    assert rates == {0.1}


def test_without_dropout_two_passes_are_one(tiny_base: OwsmModel, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = torch.randn(1, tiny_base.config.window_samples) * 0.1
    lengths = torch.tensor([tiny_base.config.window_samples])
    recipe = OWSM.changed(dropout=0.0, freq_masks=0, time_masks=0)
    for module in tiny_base.network.encoder.modules():
        if hasattr(module, "use_sdpa"):  # attention as if the base had been trained with much
            monkeypatch.setattr(module, "dropout_rate", 0.5)
    with torch.no_grad(), training_mode(tiny_base.network, recipe):
        passes = [tiny_base.network.encode(speech, lengths)[0] for _ in range(2)]
    assert torch.equal(*passes)


def test_positions_rounded_under_autocast_are_whole_again(tiny_base: OwsmModel) -> None:
    speech = torch.randn(1, tiny_base.config.window_samples) * 0.1
    lengths = torch.tensor([tiny_base.config.window_samples])
    with torch.no_grad():
        before = tiny_base.network.encode(speech, lengths)[0]
        with training_mode(tiny_base.network, OWSM), torch.autocast("cpu", torch.bfloat16):
            tiny_base.network.encode(speech, lengths)
        assert torch.equal(tiny_base.network.encode(speech, lengths)[0], before)


def test_validation_inside_training_neither_masks_nor_drops(tiny_base: OwsmModel) -> None:
    speech = torch.randn(1, tiny_base.config.window_samples) * 0.1
    lengths = torch.tensor([tiny_base.config.window_samples])
    with torch.no_grad(), training_mode(tiny_base.network, OWSM.changed(dropout=0.3)):
        moving = [tiny_base.network.encode(speech, lengths)[0] for _ in range(2)]
        with validation_mode(tiny_base.network):
            still = [tiny_base.network.encode(speech, lengths)[0] for _ in range(2)]
        assert tiny_base.network.training
    assert not torch.equal(moving[0], moving[1])
    assert torch.equal(still[0], still[1])


def test_statistics_of_a_frozen_base_do_not_move() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)
            self.ctc, self.specaug, self.error_calculator = None, None, None
            self.ctc_weight = 0.0
            self.criterion_att = nn.Module()
            self.criterion_att.smoothing, self.criterion_att.confidence = 0.0, 1.0  # type: ignore[assignment]
            self.frontend = nn.Module()
            self.frontend.output_size = lambda: 80  # type: ignore[assignment]

    network = Network()
    with training_mode(network, NANO):
        network.norm(torch.randn(8, 2) + 5)
    assert network.norm.running_mean is not None
    assert torch.equal(network.norm.running_mean, torch.zeros(2))


def test_masks_cover_what_the_recipe_says_and_none_can_be_asked_for() -> None:
    assert spec_augment(NANO.changed(freq_masks=0, time_masks=0), 40) is None
    masks = spec_augment(NANO.changed(freq_masks=1, freq_mask_share=0.25, time_masks=0), 40)
    assert masks is not None
    widths = []
    for seed in range(40):
        torch.manual_seed(seed)
        masked, _ = masks(torch.ones(1, 100, 40), None)
        assert torch.equal(masked[0, 0], masked[0, -1])  # whole bins, no time warp, no time mask
        widths.append(int((masked[0, 0] == 0).sum()))
    assert max(widths) == 9  # ESPnet draws below the width: 0..9 of 10 bins
    assert len(set(widths)) > 3
