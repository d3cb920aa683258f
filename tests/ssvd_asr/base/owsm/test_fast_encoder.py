"""The quick ways of front end and encoder give what ESPnet's own give."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.fast_encoder import ChannelsLastConv1d, ChannelsLastConv2d, as_espnet, quicken
from tests.random_owsm import waves


def encoded(encoder: nn.Module, lengths: list[int], size: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Output for features of these lengths, and the gradients of all that its frames depend on."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(lengths), max(lengths), size, generator=generator)
    encoder.zero_grad()
    out, out_lengths, _ = encoder(features, torch.tensor(lengths))
    real = [row[:length] for row, length in zip(out, out_lengths.tolist(), strict=True)]
    torch.cat(real).square().sum().backward()  # type: ignore[no-untyped-call]
    return torch.cat(real).detach(), [p.grad for p in encoder.parameters() if p.grad is not None]


@pytest.mark.parametrize("lengths", [[203], [203, 203, 203], [203, 150, 77]])
def test_output_and_gradients_are_espnets(tiny_base: BaseModel, lengths: list[int]) -> None:
    encoder = copy.deepcopy(tiny_base.network.encoder).requires_grad_(True)
    kinds = {type(module) for module in encoder.modules()}
    assert {ChannelsLastConv1d, ChannelsLastConv2d} <= kinds  # the test means something
    assert nn.Conv2d not in kinds
    assert any(getattr(module, "use_sdpa", False) for module in encoder.modules())
    size = tiny_base.network.frontend.output_size()
    found, gradients = encoded(encoder, lengths, size)
    expected, expected_gradients = encoded(as_espnet(encoder), lengths, size)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert len(gradients) == len(expected_gradients) > 10
    for one, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(other.abs().max() + 1), rtol=1e-3)


def test_names_shapes_and_order_of_the_weights_stay(tiny_base: BaseModel) -> None:
    encoder = tiny_base.network.encoder
    for module in encoder.modules():
        if isinstance(module, ChannelsLastConv1d | ChannelsLastConv2d):
            assert module.weight.is_contiguous()
    assert (
        tiny_base.network.encoder.state_dict().keys()
        == as_espnet(tiny_base.network.encoder).state_dict().keys()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_depthwise_convolution_is_torchs_own_in_every_type(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    own = nn.Conv1d(6, 6, 5, stride=2, padding=3, dilation=2, groups=6, dtype=dtype)
    quick = nn.Sequential(copy.deepcopy(own))
    quicken(quick)
    assert type(quick[0]) is ChannelsLastConv1d
    x = torch.randn(3, 40, 6, dtype=dtype).transpose(1, 2)
    torch.testing.assert_close(quick(x), own(x))


def test_spectra_without_a_mask_give_the_same_features(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet2.layers import stft

    quick = tiny_base.network.frontend
    plain = copy.deepcopy(quick)
    plain.stft.__class__ = stft.Stft
    speech, lengths = torch.randn(3, 16_000), torch.tensor([16_000, 9_001, 400])
    expected, frames = plain(speech, lengths)

    def refuse(*_: object) -> None:
        raise AssertionError("a mask of the spectra was built")

    monkeypatch.setattr(stft, "make_pad_mask", refuse)
    found, found_frames = quick(speech, lengths)
    assert torch.equal(found, expected)
    assert torch.equal(found_frames, frames)
    with pytest.raises(AssertionError, match="a mask"):
        plain(speech, lengths)
    assert type(pickle.loads(pickle.dumps(quick)).stft) is type(quick.stft)


def test_a_row_is_encoded_as_it_is_alone(tiny_base: BaseModel) -> None:
    audio = waves(3)
    together = tiny_base.encode(audio)
    for row in range(3):
        torch.testing.assert_close(
            tiny_base.encode(audio[row : row + 1])[0], together[row], atol=2e-6, rtol=0.0
        )


@pytest.mark.parametrize("width", [3, 4, 5, 9])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_convolution_in_bfloat16_is_near_the_one_in_float32_however_wide(
    width: int, autocast: bool
) -> None:
    """oneDNN's with AMX are not, where the output is one column wide."""
    torch.manual_seed(0)
    own = nn.Conv2d(32, 32, 3, 2)
    quick = nn.Sequential(copy.deepcopy(own))
    quicken(quick)
    x = torch.randn(2, 32, 74, width)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        made = quick(x) if autocast else quick.bfloat16()(x.bfloat16())
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float(), own(x), atol=0.05, rtol=0.05)
