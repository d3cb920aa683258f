"""Builder of OWSM-CTC's network: an encoder that also reads language, task and previous text, and a CTC head.

It is ESPnet's task `s2t_ctc` (arXiv 2402.12654). There is no decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typeguard import TypeCheckError

from ssvd_asr.base.owsm.config import ModelConfig
from ssvd_asr.base.owsm.fast_encoder import quicken, quicken_frontend
from ssvd_asr.base.owsm.network import NO_FLASH, build_part, load_class
from ssvd_asr.errors import BaseModelError

if TYPE_CHECKING:
    from espnet2.s2t.espnet_ctc_model import ESPnetS2TCTCModel

_CLASSES: Mapping[str, Mapping[str, str]] = {
    "encoder": {
        "e_branchformer_ctc": "espnet2.asr.encoder.e_branchformer_ctc_encoder:EBranchformerCTCEncoder"
    },
    "promptencoder": {
        "transformer": "espnet2.asr.encoder.transformer_encoder:TransformerEncoder",
        "e_branchformer": "espnet2.asr.encoder.e_branchformer_encoder:EBranchformerEncoder",
    },
}


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
