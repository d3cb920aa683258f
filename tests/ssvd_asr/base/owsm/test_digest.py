"""The digest changes with everything that can change a transcript, and with nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.config import ModelConfig, read_config
from ssvd_asr.base.owsm.digest import base_digest
from ssvd_asr.base.owsm.hub_layout import read_folder
from ssvd_asr.base.owsm.network import build_network
from ssvd_asr.base.owsm.tokens import TokenMap
from ssvd_asr.base.weights import load_weights, read_weights


@pytest.fixture(scope="module")
def config(tiny_owsm_folder: Path) -> ModelConfig:
    files = read_folder(tiny_owsm_folder)
    return read_config(files.config, root=files.root)


def _digest(
    config: ModelConfig, folder: Path, change: Callable[[torch.nn.Module], object] = lambda _: None
) -> str:
    network = build_network(config)
    load_weights(network, read_weights(read_folder(folder).checkpoint), "checkpoint")
    with torch.no_grad():
        change(network)
    return base_digest(network, config, TokenMap(config))


def _with(config: ModelConfig, section: str, **options: Any) -> ModelConfig:
    return dataclasses.replace(config, raw={**config.raw, section: {**config.section(section), **options}})


def test_what_only_training_reads_is_not_covered(
    config: ModelConfig, tiny_owsm_folder: Path, tiny_base: BaseModel
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "encoder_conf": {"dropout_rate": 0.3, "use_flash_attn": False},
        "decoder_conf": {"dropout_rate": 0.3},
        "model_conf": {"lsm_weight": 0.0, "ctc_weight": 0.5},
        "specaug_conf": {"num_freq_mask": 7},
        "normalize_conf": {"eps": 1e-12},
    }
    for section, options in changes.items():
        assert _digest(_with(config, section, **options), tiny_owsm_folder) == tiny_base.digest, section


def test_an_option_said_or_left_to_its_default_is_the_same(
    config: ModelConfig, tiny_owsm_folder: Path, tiny_base: BaseModel
) -> None:
    said = _with(config, "decoder_conf", normalize_before=True)
    said = _with(said, "frontend_conf", fmin=None, window="hann", center=True)
    assert _digest(said, tiny_owsm_folder) == tiny_base.digest


def test_options_without_a_tensor_are_covered(
    config: ModelConfig, tiny_owsm_folder: Path, tiny_base: BaseModel
) -> None:
    changed = {
        "heads": _with(config, "encoder_conf", attention_heads=8),
        "decoder heads": _with(config, "decoder_conf", attention_heads=8),
        "activation": _with(config, "encoder_conf", ffn_activation_type="relu"),
        "hop": _with(config, "frontend_conf", hop_length=128),
        "variance": _with(config, "normalize_conf", norm_vars=False),
        "window": dataclasses.replace(config, window_s=4.0),
    }
    digests = {name: _digest(other, tiny_owsm_folder) for name, other in changed.items()}
    assert len({*digests.values(), tiny_base.digest}) == len(changed) + 1


def test_one_bit_of_one_weight_is_covered(
    config: ModelConfig, tiny_owsm_folder: Path, tiny_base: BaseModel
) -> None:
    def nudge(network: torch.nn.Module) -> None:
        weight = network.get_parameter("decoder.output_layer.weight")
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))

    assert _digest(config, tiny_owsm_folder, nudge) != tiny_base.digest


def test_tokens_bpe_and_statistics_are_covered(
    config: ModelConfig, tiny_owsm_folder: Path, tiny_base: BaseModel, tmp_path: Path
) -> None:
    first, second = config.token_list.index("the"), config.token_list.index("on")
    swapped = list(config.token_list)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    other_tokens = dataclasses.replace(config, token_list=tuple(swapped))
    assert config.bpe_model is not None
    # An unknown field (number 100, empty): another file, but still a sentencepiece model.
    (tmp_path / "bpe.model").write_bytes(config.bpe_model.read_bytes() + b"\xa2\x06\x00")
    other_bpe = dataclasses.replace(config, bpe_model=tmp_path / "bpe.model")
    digests = {_digest(other, tiny_owsm_folder) for other in (other_tokens, other_bpe)}
    digests.add(
        _digest(config, tiny_owsm_folder, lambda network: network.get_buffer("normalize.mean").add_(1.0))
    )
    assert len({*digests, tiny_base.digest}) == 4
