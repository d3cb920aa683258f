"""Faster forward passes for the modules of a front end and an encoder, with unchanged weights.

Stft does not mask the spectrum of padding. ESPnet builds that mask on the host, as large as the spectrum
itself (45 ms for 64 rows of 30 s), and LogMel masks the same frames again.

Attention uses torch's scaled dot product, an option of ESPnet's modules. It writes no scores to memory
(16 rows of 186 frames, one core, float32: 9 ms a layer instead of 27).

Convolutions keep the channels last in memory:

    CPU, depthwise, 31 taps over (16, 256, 186)         0.7 ms instead of 11
    CPU, first of the subsampling (1 to 128 channels)    79 ms instead of 145
    CPU, second of the subsampling                      157 ms instead of 253
    H200, bfloat16, 31 taps over (32, 2048, 749)       0.35 ms instead of 0.95

Layers skip their mask when whole windows are encoded. ESPnet's layers set padded frames to zero twice, each
time with a copy of the whole batch. That is a fifth of the time for 32 windows of the 1B shape.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


class ChannelsLastConv2d(nn.Conv2d):
    """`nn.Conv2d`, with the channels of its output next to each other in memory."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if _is_one_wide_in_half(self, input):
            with torch.autocast(input.device.type, enabled=False):
                whole: Tensor = super()._conv_forward(
                    input.float(), weight.float(), bias if bias is None else bias.float()
                )
            return whole.bfloat16()
        if _gains(input, self.padding_mode):
            # Cloned, because a weight for one channel tells its order only by its strides.
            input, weight = _channels_last(input), weight.clone(memory_format=torch.channels_last)
        made: Tensor = super()._conv_forward(input, weight, bias)
        return made


class ChannelsLastConv1d(nn.Conv1d):
    """`nn.Conv1d` computed as a two-dimensional one, which can have the channels last."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _gains(input, self.padding_mode) or isinstance(self.padding, str):
            as_torch: Tensor = super()._conv_forward(input, weight, bias)
            return as_torch
        (stride,), (padding,), (dilation,) = self.stride, self.padding, self.dilation
        made = functional.conv2d(
            _channels_last(input.unsqueeze(-2)),  # (B, C, 1, T)
            _channels_last(weight.unsqueeze(-2)),
            bias, (1, stride), (0, padding), (1, dilation), self.groups,
        )  # fmt: skip
        return made.squeeze(-2)


def quicken_frontend(frontend: nn.Module) -> None:
    """Skip the mask of one-channel spectra, which only LogMel reads. The features stay bit-identical."""
    # Imported here, because the front end has imported ESPnet already.
    from espnet2.layers.stft import Stft

    from ssvd_asr.base.owsm.unmasked_stft import UnmaskedStft

    if type(frontend.stft) is Stft:
        frontend.stft.__class__ = UnmaskedStft


def quicken(encoder: nn.Module) -> None:
    """Make an encoder's attention, layers, two-dimensional and depthwise convolutions faster, in place."""
    # Imported here, because the encoder has imported ESPnet already; the first import prints a notice.
    from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoderLayer
    from espnet2.legacy.nets.pytorch_backend.transformer.attention import MultiHeadedAttention

    from ssvd_asr.base.owsm.whole_window_layer import WholeWindowLayer

    for module in encoder.modules():
        if type(module) is MultiHeadedAttention:
            module.use_sdpa = True  # type: ignore[assignment]
        elif type(module) is EBranchformerEncoderLayer:
            module.__class__ = WholeWindowLayer
        elif type(module) is nn.Conv2d:
            module.__class__ = ChannelsLastConv2d
        elif type(module) is nn.Conv1d and module.groups == module.in_channels:
            module.__class__ = ChannelsLastConv1d


@contextmanager
def whole_windows(encoder: nn.Module) -> Iterator[None]:
    """Encode without masks inside the block. All rows of a batch must have the same number of frames."""
    layers = [layer for layer in encoder.get_submodule("encoders").children() if hasattr(layer, "unmasked")]
    for layer in layers:
        layer.unmasked = True  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in layers:
            layer.unmasked = False  # type: ignore[assignment]


@contextmanager
def middle_output(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs (B, frames, d) of an encoder layer inside the block, without their positions."""
    made: list[Tensor] = []

    def note(_: nn.Module, __: object, output: tuple[object, object]) -> None:
        hidden = output[0]
        found = hidden[0] if isinstance(hidden, tuple) else hidden
        assert isinstance(found, Tensor)
        made.append(found)

    handle = layer.register_forward_hook(note)
    try:
        yield made
    finally:
        handle.remove()


def as_espnet(encoder: nn.Module) -> nn.Module:
    """Return a copy that computes as ESPnet does, for comparison."""
    from espnet2.asr.encoder.e_branchformer_encoder import EBranchformerEncoderLayer

    from ssvd_asr.base.owsm.whole_window_layer import WholeWindowLayer

    found = copy.deepcopy(encoder)
    for module in found.modules():
        if isinstance(module, WholeWindowLayer):
            module.__class__ = EBranchformerEncoderLayer
        elif isinstance(module, ChannelsLastConv2d):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
        elif isinstance(module, ChannelsLastConv1d):
            module.__class__ = nn.Conv1d  # type: ignore[assignment]
        elif hasattr(module, "use_sdpa"):
            module.use_sdpa = False  # type: ignore[assignment]
    return found


def _is_one_wide_in_half(conv: nn.Conv2d, x: Tensor) -> bool:
    """Return whether oneDNN may compute this wrongly: bfloat16 on a CPU, with an output one column wide.

    Measured with oneDNN 3.12 (torch 2.14.1) on a CPU with AMX: NaN or errors of 2.5 if the last columns are
    not read.
    """
    half = x.dtype == torch.bfloat16 or (
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )
    if isinstance(conv.padding, str):  # none of ESPnet's
        return False
    width = x.shape[-1] + 2 * conv.padding[1] - conv.dilation[1] * (conv.kernel_size[1] - 1) - 1
    return x.device.type == "cpu" and half and width // conv.stride[1] == 0


def _gains(x: Tensor, padding_mode: str) -> bool:
    known = x.device.type == "cuda" or (x.device.type == "cpu" and x.dtype == torch.float32)
    return known and padding_mode == "zeros"


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
