"""Builder of an ESPnet S2T network from its config. Imports only the classes that the config names.

ESPnet's own builder, `espnet2.tasks.s2t`, imports every encoder and decoder it has, which takes 12-30 s.
"""

from __future__ import annotations

import importlib
import io
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

from typeguard import TypeCheckError

from ssvd_asr.base.owsm.config import ModelConfig
from ssvd_asr.base.owsm.fast_encoder import quicken, quicken_frontend
from ssvd_asr.errors import BaseModelError

if TYPE_CHECKING:
    from espnet2.s2t.espnet_model import ESPnetS2TModel

# config key -> value -> class. A value that is not listed is refused.
_CLASSES: Mapping[str, Mapping[str, str]] = {
    "frontend": {"default": "espnet2.asr.frontend.default:DefaultFrontend"},
    "specaug": {"specaug": "espnet2.asr.specaug.specaug:SpecAug"},
    "normalize": {
        "global_mvn": "espnet2.layers.global_mvn:GlobalMVN",
        "utterance_mvn": "espnet2.layers.utterance_mvn:UtteranceMVN",
    },
    "encoder": {
        "e_branchformer": "espnet2.asr.encoder.e_branchformer_encoder:EBranchformerEncoder",
        "transformer": "espnet2.asr.encoder.transformer_encoder:TransformerEncoder",  # OWLS
    },
    "ctc": {"ctc": "espnet2.asr.ctc:CTC"},
    "decoder": {"transformer": "espnet2.asr.decoder.transformer_decoder:TransformerDecoder"},
}
_DEFAULTS = {"frontend": "default", "normalize": "utterance_mvn", "ctc": "ctc"}  # of ESPnet's task
# ESPnet uses flash attention where it is installed, but a model must compute the same everywhere.
NO_FLASH: Mapping[str, Any] = {"use_flash_attn": False}
_FLASH_NOTICE = re.compile(r"^Failed to import Flash Attention.*\n?", re.MULTILINE)


def build_network(config: ModelConfig, *, spec_augment: bool = False) -> ESPnetS2TModel:
    """Return the network of `config` with freshly initialised weights, on torch's current default device.

    Parameter names are those of ESPnet's checkpoints. Flash attention is always off, as in Speech2Text's
    default. With `spec_augment` the network has the config's SpecAugment, which acts in training mode only.
    Without it, training and decoding use the same features.

    Raises:
        BaseModelError: the config names a part or an option that is not supported.
    """
    raw = config.raw
    for key in ("preencoder", "postencoder", "input_size"):
        if raw.get(key) is not None:
            raise BaseModelError(f"base config has {key}: {raw[key]!r}, which is not supported")
    vocabulary = len(config.token_list)
    frontend = build_part(config, "frontend")
    normalize_options: dict[str, Any] = (
        {} if config.stats_file is None else {"stats_file": str(config.stats_file)}
    )
    quicken_frontend(frontend)
    encoder = build_part(config, "encoder", input_size=frontend.output_size(), **NO_FLASH)
    quicken(encoder)
    width = encoder.output_size()
    decoder = build_part(config, "decoder", vocab_size=vocabulary, encoder_output_size=width, **NO_FLASH)
    ctc = build_part(config, "ctc", odim=vocabulary, encoder_output_size=width)
    try:
        return load_class("espnet2.s2t.espnet_model:ESPnetS2TModel")(
            vocab_size=vocabulary,
            token_list=list(config.token_list),
            frontend=frontend,
            specaug=build_part(config, "specaug") if spec_augment else None,
            normalize=build_part(config, "normalize", **normalize_options),
            preencoder=None,
            encoder=encoder,
            postencoder=None,
            decoder=decoder,
            ctc=ctc,
            **config.section("model_conf"),
        )
    # ValueError: a symbol of the prompt is not in the token list. TypeCheckError: ESPnet checks types.
    except (TypeError, ValueError, AssertionError, TypeCheckError) as error:
        raise BaseModelError(f"base config's model_conf or token_list: {error}") from error


def build_part(
    config: ModelConfig, key: str, classes: Mapping[str, Mapping[str, str]] = _CLASSES, **given: Any
) -> Any:
    """Return the module of config key `key`, or None if the config turns an optional one off.

    Args:
        classes: "module:Class" by key and value of the config.
        given: options that override the config's.

    Raises:
        BaseModelError: the config names another class, or options that the class does not have.
    """
    raw = config.raw
    name = raw.get(key, _DEFAULTS.get(key))
    if name is None and key in ("normalize", "specaug"):
        return None
    choices = classes[key]
    if name not in choices:
        raise BaseModelError(f"base config has {key}: {name!r}; supported: {', '.join(choices)}")
    try:
        return load_class(choices[name])(**{**config.section(f"{key}_conf"), **given})
    except (TypeError, ValueError, AssertionError, TypeCheckError) as error:
        raise BaseModelError(f"base config's {key}_conf: {error}") from error


def load_class(target: str) -> Any:
    """Import "module:Class" and return the class. ESPnet's notice that flash_attn is absent is dropped."""
    module, _, name = target.partition(":")
    notices = io.StringIO()
    try:
        with redirect_stderr(notices):
            return getattr(importlib.import_module(module), name)
    finally:
        sys.stderr.write(_FLASH_NOTICE.sub("", notices.getvalue()))
