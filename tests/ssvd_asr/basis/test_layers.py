"""Layers are chosen by the ends of their names."""

from __future__ import annotations

import pytest
from torch import nn

from ssvd_asr.adapted_model import adapt
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.errors import AdapterError
from tests.ssvd_asr.toy import PATTERNS, Toy, toy_factors


def test_patterns_match_ends_of_names_in_the_models_order() -> None:
    assert list(match_layers(Toy(), ("square", "tall"))) == ["tall", "square"]


def test_only_linears_match() -> None:
    model = nn.ModuleDict({"output_layer": nn.Embedding(3, 4), "merge_proj": nn.Linear(3, 4)})
    assert list(match_layers(model)) == ["merge_proj"]


def test_the_papers_set_is_every_linear_but_the_ctc_head(tiny_base: BaseModel) -> None:
    linears = {name for name, module in tiny_base.network.named_modules() if isinstance(module, nn.Linear)}
    assert linears - match_layers(tiny_base.network).keys() == {"ctc.ctc_lo"}


def test_nothing_to_adapt_is_an_error_that_names_the_patterns() -> None:
    with pytest.raises(AdapterError, match="nothing_like_it"):
        match_layers(Toy(), ("nothing_like_it",))


def test_an_adapted_model_is_not_adapted_again() -> None:
    model = Toy()
    factors = toy_factors(model)
    adapt(model, factors, PATTERNS)
    with pytest.raises(AdapterError, match="adapted already"):
        adapt(model, factors, PATTERNS)


def test_one_linear_under_two_names_is_refused() -> None:
    shared = nn.Linear(3, 3)
    model = nn.ModuleDict({"merge_proj": shared, "other": nn.ModuleDict({"merge_proj": shared})})
    with pytest.raises(AdapterError, match=r"'merge_proj' and 'other\.merge_proj'"):
        match_layers(model)
