"""Probe of ESPnet's S2T-CTC networks: the frames of probe.py after two tokens, and a previous text of one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ssvd_asr.base.owsm.probe import FRAMES, probe_frames
from ssvd_asr.base.probe import Probe


def _outputs(network: nn.Module) -> dict[str, Tensor]:
    """Return the encoder output (1, T, d) and the CTC head's logits (1, T, V)."""
    model: Any = network
    parameter = next(model.encoder.parameters())
    device = parameter.device
    vocabulary = int(model.vocab_size)
    told = torch.tensor([[vocabulary // 3, vocabulary // 2]], device=device)
    previous = torch.tensor([[int(model.na)]], device=device)
    one = torch.ones(1, dtype=torch.long, device=device)
    memory, _, _ = model.prompt_encoder(model.pos_enc(model.embed(previous)), one)
    encoded, _, _ = model.encoder(
        probe_frames(int(model.frontend.output_size())).to(parameter),
        FRAMES * one,
        ctc=model.ctc,
        prefix_embeds=model.embed_proj(model.embed(told)),
        memory=model.prompt_proj(memory),
        memory_mask=torch.ones(1, 1, 1, dtype=torch.bool, device=device),
    )
    if isinstance(encoded, tuple):  # comes with the outputs of intermediate CTC layers
        encoded = encoded[0]
    return {"encoder": encoded, "logits": model.ctc.ctc_lo(encoded)}


ESPNET_CTC_PROBE = Probe("espnet-s2t-ctc-1", _outputs)
