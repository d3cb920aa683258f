"""Layer and parameter counts of the paper's models, from ESPnet's own classes on the meta device.

Source: arXiv 2509.02830, tables III to V. Its percentages are rounded, so its rows stand here as k.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.base.owsm.shapes import OWLS_2B, OWSM_01B, OWSM_1B, OwsmShape, meta_network
from ssvd_asr.basis.layers import match_layers


@dataclass(frozen=True)
class PaperModel:
    """One row of table III with its linears and the SSVD rows of the results, k -> millions of parameters."""

    shape: OwsmShape
    parameters_millions: float
    linears: int
    millions: dict[int, float]


MODELS = {
    "OWSM-0.1B": PaperModel(OWSM_01B, 101.18, 128, {153: 1.51, 239: 3.67, 320: 6.57}),
    "OWSM-1B": PaperModel(OWSM_1B, 1016.9, 380, {227: 9.83, 256: 12.50, 292: 16.26, 341: 22.16, 409: 31.86}),
    "OWLS-2B": PaperModel(OWLS_2B, 2304.9, 258, {341: 15.04, 409: 21.63, 512: 33.88}),
}


@pytest.fixture(scope="module", params=list(MODELS))
def case(request: pytest.FixtureRequest) -> tuple[PaperModel, nn.Module]:
    model = MODELS[request.param]
    return model, meta_network(model.shape)


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
    from ssvd_asr.adapter.adapter import layer_k

    assert layer_k(0.4, 384, "any") == 153
    assert layer_k(0.4, 1024, "any") == 409
    assert layer_k(0.25, 2048, "any") == 512
