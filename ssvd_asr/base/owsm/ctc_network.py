"""OWSM-CTC model: an encoder that also reads language, task and previous text, and a CTC head; no decoder.

It is ESPnet's task `s2t_ctc` and is decoded by its best path (ssvd_asr.decoding.best_path). Adapters and the
server need encoder-decoder bases, so `load_base` refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from typeguard import TypeCheckError

from ssvd_asr.base.owsm.config import ModelConfig, parse_config
from ssvd_asr.base.owsm.fast_encoder import quicken, quicken_frontend
from ssvd_asr.base.owsm.network import NO_FLASH, build_part, load_class
from ssvd_asr.base.owsm.tokens import TokenMap
from ssvd_asr.base.weights import load_weights, read_weights
from ssvd_asr.base.window import FloatArray
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.errors import BaseModelError

if TYPE_CHECKING:
    from espnet2.s2t.espnet_ctc_model import ESPnetS2TCTCModel

    from ssvd_asr.base.prompt import Prompt

CTC_ONLY = "espnet_ctc"  # the config's `model`, as the task writes it
PADDING = -1  # of previous texts, as in ESPnet
_CLASSES: Mapping[str, Mapping[str, str]] = {
    "encoder": {
        "e_branchformer_ctc": "espnet2.asr.encoder.e_branchformer_ctc_encoder:EBranchformerCTCEncoder"
    },
    "promptencoder": {
        "transformer": "espnet2.asr.encoder.transformer_encoder:TransformerEncoder",
        "e_branchformer": "espnet2.asr.encoder.e_branchformer_encoder:EBranchformerEncoder",
    },
}


class CtcModel:
    """Frozen OWSM-CTC in float32."""

    def __init__(self, network: ESPnetS2TCTCModel, config: ModelConfig, device: torch.device) -> None:
        self.network = network.requires_grad_(False).eval().to(device)
        self.config = config
        self.tokens = TokenMap(config)
        self.device = device

    @torch.no_grad()
    def encode(self, waves: Sequence[FloatArray], prompts: Sequence[Prompt]) -> Tensor:
        """Return encoder output (B, T, d) of B waves (samples,), each with its own prompt.

        The prompt's language and task take the first two frames. Every wave is padded with zeros to the whole
        window, as in Speech2Text.batch_decode.

        Raises:
            AudioTooLongError, AudioError: as in OwsmModel.encode.
            SsvdError: the model has no such language or task.
        """
        speech = self.config.window.padded(waves, "OWSM-CTC")
        told = [[self.tokens.id(prompt.language), self.tokens.id(prompt.task)] for prompt in prompts]
        previous = [torch.tensor(self._previous(prompt)) for prompt in prompts]
        batch = {
            "speech": speech,
            "speech_lengths": torch.full((len(speech),), speech.size(1)),
            "text_prev": pad_sequence(previous, batch_first=True, padding_value=PADDING),
            "text_prev_lengths": torch.tensor([len(ids) for ids in previous]),
            "prefix": torch.tensor(told),
            "prefix_lengths": torch.full((len(told),), 2),
        }
        encoded, _ = self.network.encode(**{key: value.to(self.device) for key, value in batch.items()})
        # With intermediate CTC the encoder also returns its layers' outputs.
        output: Tensor = encoded[0] if isinstance(encoded, tuple) else encoded
        return output

    def _previous(self, prompt: Prompt) -> list[int]:
        """Return the ids of the previous text, or only "<na>" if there is none or it contains "<na>"."""
        ids = self.tokens.encode(prompt.previous_text) if prompt.previous_text is not None else []
        return [self.tokens.na] if not ids or self.tokens.na in ids else ids


def load_ctc_model(config: Path, checkpoint: Path, device: str = "auto") -> CtcModel:
    """Load an OWSM-CTC from its config.yaml and checkpoint (.pth or .safetensors).

    Raises:
        BaseModelError: a file is missing or damaged, or the model is of another kind.
        SsvdError: there is no such device.
    """
    target = resolve_device(device)
    if target.type == "cuda":
        forbid_tf32()
    model_config = _read_config(config)
    network = build_ctc_network(model_config)
    load_weights(network, read_weights(checkpoint), f"checkpoint {checkpoint}")
    return CtcModel(network, model_config, target)


def build_ctc_network(config: ModelConfig) -> ESPnetS2TCTCModel:
    """Return the network with freshly initialised weights and ESPnet's parameter names.

    Raises:
        BaseModelError: the config names a part or an option that is not supported.
    """
    vocabulary = len(config.token_list)
    frontend = build_part(config, "frontend")
    normalize: dict[str, Any] = {} if config.stats_file is None else {"stats_file": str(config.stats_file)}
    quicken_frontend(frontend)
    encoder = build_part(config, "encoder", _CLASSES, input_size=frontend.output_size(), **NO_FLASH)
    quicken(encoder)
    width = config.section("promptencoder_conf").get("output_size")
    if width is None:
        raise BaseModelError("base config has no promptencoder_conf.output_size")
    told = build_part(config, "promptencoder", _CLASSES, input_size=width, input_layer=None, **NO_FLASH)
    try:
        return load_class("espnet2.s2t.espnet_ctc_model:ESPnetS2TCTCModel")(
            vocab_size=vocabulary,
            token_list=list(config.token_list),
            frontend=frontend,
            specaug=None,
            normalize=build_part(config, "normalize", **normalize),
            encoder=encoder,
            prompt_encoder=told,
            ctc=build_part(config, "ctc", odim=vocabulary, encoder_output_size=encoder.output_size()),
            **config.section("model_conf"),
        )
    except (TypeError, ValueError, AssertionError, TypeCheckError) as error:
        raise BaseModelError(f"base config's model_conf or token_list: {error}") from error


def _read_config(path: Path) -> ModelConfig:
    """Read a config whose `model` is espnet_ctc; the rest is as for other S2T models."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BaseModelError(f"base config {path} cannot be read: {error}") from error
    kind = raw.get("model") if isinstance(raw, dict) else None
    if kind != CTC_ONLY:
        raise BaseModelError(f"base config {path} has model: {kind!r}; OWSM-CTC has {CTC_ONLY!r}")
    folder = path.absolute().parent
    return parse_config({**raw, "model": None}, roots=[folder, *list(folder.parents)[:3]])
