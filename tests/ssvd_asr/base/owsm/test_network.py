"""The network built from a config is ESPnet's own, at the sizes that OWSM has."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from ssvd_asr.base.owsm.config import parse_config
from ssvd_asr.base.owsm.network import build_network
from ssvd_asr.errors import BaseModelError
from tests.random_owsm import OWSM_01B, TINY, OwsmShape, espnet_config

LIGHT_IMPORT = """
import sys
import ssvd_asr.base.load, ssvd_asr.base.owsm.export, ssvd_asr.transcription
from ssvd_asr.base.owsm.network import _CLASSES, load_class
for choices in _CLASSES.values():
    for target in choices.values():
        load_class(target)
load_class("espnet2.s2t.espnet_model:ESPnetS2TModel")
heavy = ("espnet2.tasks", "espnet2.bin", "espnet_model_zoo", "pandas", "gradio", "lhotse", "fastapi", "s3prl")
print([name for name in sys.modules if name.startswith((*heavy, "huggingface_hub"))])
"""


def _config(shape: OwsmShape = TINY, **changes: Any) -> dict[str, Any]:
    """A config without files, and with as many tokens as the shape says."""
    head = ["<blank>", "<unk>", "<na>", "<notimestamps>", "<0.00>", f"<{shape.window_s:.2f}>"]
    tail = ["<sos>", "<eos>", "<sop>"]
    count = shape.vocabulary or 40
    tokens = [*head, *(f"t{i}" for i in range(count - len(head) - len(tail))), *tail]
    return {
        **espnet_config(shape, tokens, "bpe.model", "stats.npz"),
        "bpemodel": None,
        "normalize": None,
        **changes,
    }


def test_owsm_base_has_its_published_size() -> None:
    with torch.device("meta"):
        network = build_network(parse_config(_config(OWSM_01B)))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(101.18e6, abs=0.01e6)


def test_transformer_encoder_of_owls_is_built() -> None:
    network = build_network(parse_config(_config(OwsmShape(encoder="transformer"))))
    assert type(network.encoder).__name__ == "TransformerEncoder"


def test_specaugment_is_built_only_on_request() -> None:
    config = parse_config(_config())
    assert build_network(config).specaug is None
    assert build_network(config, spec_augment=True).specaug is not None


def test_flash_attention_is_off_whatever_the_config_says() -> None:
    network = build_network(parse_config(_config()))
    flags = [module.use_flash_attn for module in network.modules() if hasattr(module, "use_flash_attn")]
    assert flags
    assert not any(flags)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"encoder": "whisper"}, "encoder: 'whisper'"),
        ({"frontend": "s3prl"}, "frontend: 's3prl'"),
        ({"decoder": None}, "decoder: None"),
        ({"preencoder": "linear"}, "preencoder: 'linear'"),
        ({"input_size": 80}, "input_size: 80"),
        ({"encoder_conf": {"no_such_option": 1}}, "encoder_conf.*no_such_option"),
        ({"encoder_conf": {"output_size": "wide"}}, "encoder_conf"),
        ({"ctc_conf": {"ctc_type": "none"}}, "ctc_conf"),
        ({"model_conf": {"sym_sos": "<start>"}}, "model_conf"),
    ],
)
def test_unknown_parts_and_options_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(BaseModelError, match=named):
        build_network(parse_config(_config(**change)))


def test_decode_path_imports_no_task_module_and_writes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT_IMPORT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "Flash" not in done.stderr
