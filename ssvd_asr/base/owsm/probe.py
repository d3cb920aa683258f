"""Probe of ESPnet's S2T networks: 100 feature frames (1 s), and three tokens for the decoder.

The frames go straight into the encoder. Front end and normalisation take no part; the digest covers them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssvd_asr.base.probe import Probe
from ssvd_asr.basis.fingerprint import probe as uniform_probe

FRAMES = 100  # 1 s at 10 ms
FRAMES_PER_DRAW = 4  # features stay the same for 40 ms: the subsampling would smooth white noise away


def _espnet_outputs(network: nn.Module) -> dict[str, Tensor]:
    """Return the encoder output (1, T, d) and, where there is a decoder, its logits (1, 3, V)."""
    encoder, frontend = network.get_submodule("encoder"), network.get_submodule("frontend")
    parameter = next(encoder.parameters())
    frames = probe_frames(int(frontend.output_size()))  # type: ignore[operator]
    lengths = torch.tensor([FRAMES], device=parameter.device)
    encoded, encoded_lengths = encoder(frames.to(parameter), lengths)[:2]
    if isinstance(encoded, tuple):  # comes with the outputs of intermediate CTC layers
        encoded = encoded[0]
    outputs = {"encoder": encoded}
    decoder = getattr(network, "decoder", None)
    if decoder is not None:
        vocabulary, start = int(network.vocab_size), int(network.sos)  # type: ignore[arg-type]
        prompt = torch.tensor([[start, vocabulary // 3, vocabulary // 2]], device=parameter.device)
        outputs["logits"] = decoder(
            encoded, encoded_lengths, prompt, torch.tensor([3], device=prompt.device)
        )[0]
    return outputs


def probe_frames(bins: int) -> Tensor:
    """Return the features (1, FRAMES, bins), float64 of unit variance, as after GlobalMVN."""
    draws = uniform_probe(0, FRAMES // FRAMES_PER_DRAW * bins).reshape(1, -1, bins)
    frames: Tensor = draws.repeat_interleave(FRAMES_PER_DRAW, dim=1) * 3.0**0.5
    return frames


ESPNET_PROBE = Probe("espnet-s2t-1", _espnet_outputs)
