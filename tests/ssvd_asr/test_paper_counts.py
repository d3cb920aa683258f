"""Layer and parameter counts of the paper's models, from ESPnet's own classes on the meta device.

Source: arXiv 2509.02830, tables III to V. Its percentages are rounded, so its rows stand here as k.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from ssvd_asr.adapter import Adapter
from ssvd_asr.layers import match_layers

VOCABULARY = 50_002


@dataclass(frozen=True)
class PaperModel:
    """One row of table III with its linears and the SSVD rows of the results, k -> millions of parameters."""

    width: int
    encoder_layers: int
    decoder_layers: int
    heads: int
    branchformer: bool
    parameters_millions: float
    linears: int
    millions: dict[int, float]


MODELS = {
    "OWSM-0.1B": PaperModel(384, 6, 6, 6, True, 101.18, 128, {153: 1.51, 239: 3.67, 320: 6.57}),
    "OWSM-1B": PaperModel(
        1024, 18, 18, 16, True, 1016.9, 380, {227: 9.83, 256: 12.50, 292: 16.26, 341: 22.16, 409: 31.86}
    ),
    "OWLS-2B": PaperModel(2048, 16, 16, 64, False, 2304.9, 258, {341: 15.04, 409: 21.63, 512: 33.88}),
}


def build(model: PaperModel) -> nn.Module:
    """Encoder, decoder and CTC head without storage."""
    from ssvd_asr.base.network import _load_class  # drops ESPnet's notice about flash attention

    shared = {"linear_units": 4 * model.width, "input_layer": "conv2d"}
    with torch.device("meta"):
        if model.branchformer:
            encoder = _load_class("espnet2.asr.encoder.e_branchformer_encoder:EBranchformerEncoder")(
                80, model.width, model.heads, num_blocks=model.encoder_layers, macaron_ffn=True, use_ffn=True,
                attention_layer_type="selfattn", pos_enc_layer_type="abs_pos", merge_conv_kernel=31,
                cgmlp_linear_units=4 * model.width, cgmlp_conv_kernel=31, **shared,
            )  # fmt: skip
        else:
            encoder = _load_class("espnet2.asr.encoder.transformer_encoder:TransformerEncoder")(
                80, model.width, model.heads, num_blocks=model.encoder_layers, **shared
            )
        decoder = _load_class("espnet2.asr.decoder.transformer_decoder:TransformerDecoder")(
            VOCABULARY, model.width, model.heads, 4 * model.width, model.decoder_layers
        )
        ctc = _load_class("espnet2.asr.ctc:CTC")(VOCABULARY, model.width)
    return nn.ModuleDict({"encoder": encoder, "decoder": decoder, "ctc": ctc})


@pytest.fixture(scope="module", params=list(MODELS))
def case(request: pytest.FixtureRequest) -> tuple[PaperModel, nn.Module]:
    model = MODELS[request.param]
    return model, build(model)


def test_the_model_is_the_papers(case: tuple[PaperModel, nn.Module]) -> None:
    model, network = case
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(
        model.parameters_millions, rel=1e-4
    )


def test_the_papers_linears_are_matched_and_the_ctc_head_is_not(case: tuple[PaperModel, nn.Module]) -> None:
    model, network = case
    matched = match_layers(network)
    linears = {name for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    assert len(matched) == model.linears
    assert linears - matched.keys() == {"ctc.ctc_lo"}


def test_adapter_sizes_are_the_papers(case: tuple[PaperModel, nn.Module]) -> None:
    model, network = case
    for k, millions in model.millions.items():
        with torch.device("meta"):
            sigmas = {name: torch.empty(k) for name in match_layers(network)}
            adapter = Adapter("first-order", sigmas)
        assert round(adapter.parameter_count() / 1e6, 2) == millions, k


def test_the_share_p_gives_the_papers_k_where_its_percentages_are_exact() -> None:
    from ssvd_asr.adapter import layer_k

    assert layer_k(0.4, 384, "any") == 153
    assert layer_k(0.4, 1024, "any") == 409
    assert layer_k(0.25, 2048, "any") == 512
