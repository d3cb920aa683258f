"""Builder of transformers' Whisper from its config, and reader of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ssvd_asr.base.weights import load_weights, read_weights
from ssvd_asr.base.whisper.files import CONFIG, GENERATION, WhisperFiles
from ssvd_asr.errors import BaseModelError

if TYPE_CHECKING:
    import torch
    from transformers import WhisperForConditionalGeneration

OUTPUT, EMBEDDING = "proj_out.weight", "model.decoder.embed_tokens.weight"  # one tensor, if tied


def build_network(
    config: Mapping[str, Any], generation: Mapping[str, Any]
) -> WhisperForConditionalGeneration:
    """Return the network of config.json with freshly initialised weights, in float32.

    Raises:
        BaseModelError: the config describes no such model, or options that decoding does not know.
    """
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    if config.get("scale_embedding"):
        raise BaseModelError(f"{CONFIG} has scale_embedding: true, which is not supported")
    if config.get("model_type") != "whisper":
        raise BaseModelError(f"{CONFIG} has model_type {config.get('model_type')!r}, not 'whisper'")
    known = {name: value for name, value in config.items() if name not in ("torch_dtype", "dtype")}
    try:
        network = WhisperForConditionalGeneration._from_config(
            WhisperConfig.from_dict(known), attn_implementation="sdpa"
        )
        network.generation_config = GenerationConfig.from_dict(dict(generation))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BaseModelError(f"{CONFIG} or {GENERATION} describes no Whisper: {error}") from error
    built: WhisperForConditionalGeneration = network.float()
    return built


def load_network(files: WhisperFiles) -> WhisperForConditionalGeneration:
    """Return the network with the checkpoint's weights, in float32.

    Raises:
        BaseModelError: a file is damaged, or the weights do not fit the config.
    """
    import torch

    with torch.device("meta"):  # no memory and no random numbers, as the checkpoint gives every value
        network = build_network(files.json(CONFIG), files.json(GENERATION))
    network = network.to_empty(device="cpu")
    network.tie_weights()  # `to_empty` gives one tensor of two names two memories
    state: dict[str, torch.Tensor] = {}
    for path in files.weights:
        state |= read_weights(path)
    if network.config.tie_word_embeddings and EMBEDDING in state:
        state.setdefault(OUTPUT, state[EMBEDDING])
    load_weights(network, state, f"base checkpoint {files.weights[0]}")
    return network
