"""The two kinds of OWSM, by their configs: with a decoder, and OWSM-CTC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssvd_asr.base.owsm.config import ModelConfig
from ssvd_asr.base.owsm.ctc_model import OwsmCtcModel
from ssvd_asr.base.owsm.ctc_network import build_ctc_network
from ssvd_asr.base.owsm.model import OwsmModel
from ssvd_asr.base.owsm.network import build_network

if TYPE_CHECKING:
    from espnet2.s2t.espnet_ctc_model import ESPnetS2TCTCModel
    from espnet2.s2t.espnet_model import ESPnetS2TModel


def build(config: ModelConfig) -> ESPnetS2TModel | ESPnetS2TCTCModel:
    """Return the network of a config with fresh weights. Raises BaseModelError, as its builder does."""
    return build_ctc_network(config) if config.ctc_only else build_network(config)


def kind_of(config: ModelConfig) -> type[OwsmModel]:
    """Return the class of a config's base."""
    return OwsmCtcModel if config.ctc_only else OwsmModel
