"""Probe of Whisper networks: 100 frames of features (1 s), and three tokens for the decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssvd_asr.base.probe import Probe
from ssvd_asr.base.whisper.encoder import encode
from ssvd_asr.basis.fingerprint import probe as uniform_probe

FRAMES = 100  # 1 s at 10 ms
FRAMES_PER_DRAW = 4  # features stay the same for 40 ms: the convolutions would smooth white noise away


def _outputs(network: nn.Module) -> dict[str, Tensor]:
    """Return the encoder output (1, T, d) and the decoder's logits (1, 3, V)."""
    whisper: Any = network
    parameter = next(whisper.model.encoder.parameters())
    mels, vocabulary = int(whisper.config.num_mel_bins), int(whisper.config.vocab_size)
    draws = uniform_probe(0, FRAMES // FRAMES_PER_DRAW * mels).reshape(1, -1, mels)
    features = draws.repeat_interleave(FRAMES_PER_DRAW, dim=1).mT.to(parameter)  # about -1 to 1, as log-mels
    encoded = encode(whisper.model.encoder, features)
    start = int(whisper.config.decoder_start_token_id)
    prompt = torch.tensor([[start, vocabulary // 3, vocabulary // 2]], device=parameter.device)
    hidden = whisper.model.decoder(input_ids=prompt, encoder_hidden_states=encoded, use_cache=False)
    return {"encoder": encoded, "logits": whisper.proj_out(hidden.last_hidden_state)}


WHISPER_PROBE = Probe("whisper-1", _outputs)
