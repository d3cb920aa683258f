"""Random models of real shapes: built from config alone, the same for one seed, ready to decode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from ssvd_asr.base.owsm.shapes import (
    NANO,
    NANO_SHAPE,
    OWSM_01B,
    SHAPES,
    TINY,
    meta_network,
    random_base,
    shape_config,
)
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.transcription import transcribe
from tests.random_owsm import waves


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_built_without_storage_and_has_linears_to_adapt(name: str) -> None:
    network = meta_network(SHAPES[name])
    assert all(parameter.is_meta for parameter in network.parameters())
    assert match_layers(network)


@pytest.mark.parametrize(
    ("name", "millions", "linears"),
    [
        ("0.1b", 101.18, 128),
        ("0.4b", 366.65, 191),
        ("1b", 1016.89, 380),
        ("v4-0.1b", 101.92, 128),
        ("v4-0.4b", 369.60, 191),
        ("v4-1b", 1022.13, 380),
        ("ctc-1b", 1005.05, 358),
        ("ctc-v4-1b", 1011.34, 358),
    ],
)
def test_shapes_of_published_models_have_their_sizes_and_their_linears(
    name: str, millions: float, linears: int
) -> None:
    """The sizes of the models with a decoder are published; of OWSM-CTC it is said to have 1.01 billion."""
    network = meta_network(SHAPES[name])
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, abs=0.01e6)
    found = match_layers(network)
    assert len(found) == linears
    shape = SHAPES[name]
    # In each branch layer: attention 4, cgMLP 2, two feed-forwards of 2, merge; decoder layers have 10.
    assert linears == 11 * shape.encoder_layers + 1 + (
        10 * shape.decoder_layers + 1
        if not shape.ctc_only
        else 4 * (shape.encoder_layers // shape.cross_attention_every) + 6 * shape.prompt_layers
    )


def test_a_random_base_encodes_and_decodes_and_its_seed_names_it() -> None:
    base, again, other = random_base(TINY), random_base(TINY), random_base(TINY, seed=2)
    assert base.digest == again.digest != other.digest
    transcript = transcribe(base, waves(2, TINY), max_tokens=3)[0]
    assert len(transcript.hypothesis.token_ids) <= 3


def test_making_one_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    random_base(TINY)
    assert torch.equal(torch.rand(2), expected)


def test_the_vocabulary_is_as_large_as_asked_and_the_window_has_its_time_symbols() -> None:
    config = shape_config(replace(OWSM_01B, window_s=4.0))
    assert len(config.token_list) == 50_002
    assert config.last_time_symbol == "<4.00>"
    assert config.window_samples == 64_000


def test_the_nano_shape_is_that_of_the_embedded_base() -> None:
    raw = yaml.safe_load((Path(NANO) / "config.yaml").read_text(encoding="utf-8"))
    own = NANO_SHAPE.encoder_conf()
    assert {key: raw["encoder_conf"][key] for key in own if key in raw["encoder_conf"]} == {
        key: value for key, value in own.items() if key in raw["encoder_conf"]
    } | {"dropout_rate": raw["encoder_conf"]["dropout_rate"]}
    assert raw["decoder_conf"]["num_blocks"] == NANO_SHAPE.decoder_layers
    assert raw["decoder_conf"]["attention_heads"] == NANO_SHAPE.heads
    assert raw["frontend_conf"]["n_mels"] == NANO_SHAPE.mels
    assert raw["preprocessor_conf"]["speech_length"] == NANO_SHAPE.window_s
