"""A checkpoint of the real 0.1B shape, in the hub's files: 101 M parameters, 50,002 tokens, a 30 s window."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssvd_asr.base.load import load_base
from ssvd_asr.base.owsm.export import export_compact
from ssvd_asr.transcription import transcribe
from tests.random_owsm import OWSM_01B, waves, write_random_owsm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_owsm(tmp_path_factory.mktemp("hub") / "owsm_base", OWSM_01B, legacy_keys=True)


def test_owsm_base_loads_from_the_hubs_files_and_decodes(folder: Path, tmp_path: Path) -> None:
    base = load_base(folder, device="cpu")
    assert sum(p.numel() for p in base.network.parameters()) == pytest.approx(101.18e6, abs=0.01e6)
    assert (len(base.tokens), base.config.window_samples) == (50_002, 480_000)
    transcript = transcribe(base, [waves(1, OWSM_01B)[0][:80_000]], max_tokens=3)[0]
    assert 0 < len(transcript.hypothesis.token_ids) <= 3
    export_compact(base, tmp_path / "compact")
    digest, weight = base.digest, base.network.decoder.output_layer.weight[:5].clone()
    del base
    again = load_base(tmp_path / "compact", device="cpu")
    assert again.digest == digest
    assert torch.equal(again.network.decoder.output_layer.weight[:5], weight)
