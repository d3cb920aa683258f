"""A merged checkpoint is an ordinary one: Speech2Text hears in it what base and adapter hear here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adapters_store.packaged import PACKAGED
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter_file import load_adapter
from ssvd_asr.audio import read_audio
from ssvd_asr.base.export import export_espnet
from ssvd_asr.base.load import load_base
from ssvd_asr.errors import AdapterError
from ssvd_asr.factor_cache import factorize
from ssvd_asr.merge import merge_adapter
from ssvd_asr.transcription import transcribe

CLIPS = sorted((PACKAGED / "child" / "samples").glob("*.opus"))[:3]


def test_speech2text_hears_in_the_merged_checkpoint_what_base_and_adapter_hear(
    espnet: Any, tmp_path: Path
) -> None:
    base, waves = load_base("owsm-nano", device="cpu"), [read_audio(clip) for clip in CLIPS]
    alone = [heard.text for heard in transcribe(base, waves)]
    before = {name: tensor.clone() for name, tensor in base.network.state_dict().items()}
    factors = factorize(base, tmp_path / "cache", progress=False)
    loaded = load_adapter(PACKAGED / "child" / "adapter.safetensors", base, factors)
    merged = merge_adapter(base, loaded, factors)
    assert all(torch.equal(before[name], tensor) for name, tensor in base.network.state_dict().items())
    config, checkpoint = export_espnet(merged, tmp_path / "merged")
    judge = espnet.Speech2Text(config, checkpoint, beam_size=1, ctc_weight=0.0)
    adapted = adapt(base.network, factors)
    found = transcribe(base, waves, adapted=adapted, cores=loaded.adapter.cores())
    wanted = [heard.text for heard in found]
    assert [judge(wave, predict_time=False)[0][3] for wave in waves] == wanted
    assert len(waves) == 3
    assert wanted != alone  # the base mishears at least one


def test_a_base_in_half_precision_is_not_merged(tiny_base: Any) -> None:
    tiny_base.dtype = torch.bfloat16
    with pytest.raises(AdapterError, match="load it in float32"):
        merge_adapter(tiny_base, None, {})  # type: ignore[arg-type]
