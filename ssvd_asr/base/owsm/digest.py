"""Digest of a base model: one SHA-256 of all that it computes with. Adapters and replies name it.

Covered: each tensor of the state (name, dtype, shape, bytes), tokens, BPE model, front end, normalisation,
the options of encoder and decoder that no shape shows (heads, activations), the window and the prompt's
symbols. Not covered: the files' paths and container, and options for training only (dropout, SpecAugment,
loss weights). So a hub download, a folder, a .pth and a safetensors copy of one model have the same digest.

The state is taken after ESPnet's upgrade hooks have renamed old keys, in float32 (which holds every half
precision value exactly) and before any cast to a working dtype. Serving in bfloat16 changes no digest.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from ssvd_asr.base.owsm.config import ModelConfig
from ssvd_asr.base.owsm.tokens import TokenMap
from ssvd_asr.base.state_digest import digest_of, sha256, state_entries

if TYPE_CHECKING:
    from espnet2.s2t.espnet_model import ESPnetS2TModel

_DIGEST_FORMAT = 1
# Listed by name, so that an option that a later ESPnet adds does not change the digest of an old model.
_ENCODER_OPTIONS = (
    "attention_heads", "attention_layer_type", "pos_enc_layer_type", "rel_pos_type", "input_layer",
    "use_linear_after_conv", "gate_activation", "ffn_activation_type", "zero_triu", "normalize_before",
    "concat_after", "positionwise_layer_type", "interctc_layer_idx", "interctc_use_conditioning",
)  # fmt: skip
_PROMPT_ENCODER_OPTIONS = (
    "attention_heads", "input_layer", "normalize_before", "concat_after", "positionwise_layer_type",
)  # fmt: skip
_DECODER_OPTIONS = ("attention_heads", "input_layer", "normalize_before", "concat_after", "use_output_layer")


def base_digest(network: ESPnetS2TModel, config: ModelConfig, tokens: TokenMap) -> str:
    """Return "sha256:..." of a network whose floating tensors are float32."""
    content = {
        "format": _DIGEST_FORMAT,
        "tensors": state_entries(network.state_dict()),
        "tokens": sha256("\n".join(tokens.token_list).encode()),
        "bpe": sha256(tokens.bpe_bytes),
        "frontend": _frontend(network),
        "normalize": _normalize(network),
        "encoder": _options(network.encoder, config.section("encoder_conf"), _ENCODER_OPTIONS),
        **_beside_encoder(network, config),
        "window": [config.sample_rate_hz, config.window_s, config.time_step_s],
        "symbols": [tokens.na, tokens.notime, tokens.first_time, tokens.last_time],
    }
    return digest_of(content)


def _beside_encoder(network: Any, config: ModelConfig) -> dict[str, Any]:
    """Return the options of the decoder, or of OWSM-CTC's encoder of previous texts and its prompt."""
    if not config.ctc_only:
        return {"decoder": _options(network.decoder, config.section("decoder_conf"), _DECODER_OPTIONS)}
    given = {"input_layer": None, **config.section("promptencoder_conf")}
    return {
        "promptencoder": _options(network.prompt_encoder, given, _PROMPT_ENCODER_OPTIONS),
        "nolang": config.nolang_symbol,
        "cross_attention": config.section("encoder_conf").get("use_cross_attention", True),
    }


def _frontend(network: ESPnetS2TModel) -> dict[str, Any]:
    """Return the front end's options from the built module, which include ESPnet's defaults."""
    front = network.frontend
    stft = {key: getattr(front.stft, key) for key in ("n_fft", "win_length", "hop_length", "center", "window",
                                                      "normalized", "onesided")}  # fmt: skip
    mel = {key: float(value) for key, value in front.logmel.mel_options.items()}
    return {"class": type(front).__name__, "stft": stft, "mel": mel, "log_base": front.logmel.log_base}


def _normalize(network: ESPnetS2TModel) -> dict[str, Any]:
    """Return the normalisation's options. The means and deviations of global_mvn count as tensors."""
    layer = network.normalize
    if layer is None:
        return {}
    return {"class": type(layer).__name__, "means": bool(layer.norm_means), "vars": bool(layer.norm_vars)}


def _options(module: torch.nn.Module, given: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of these names, with the class's default if the config has none."""
    parameters = inspect.signature(type(module).__init__).parameters
    values = {
        name: given.get(name, parameters[name].default)
        for name in names
        if name in given or name in parameters
    }
    return {"class": type(module).__name__, **values}
