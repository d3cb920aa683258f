"""`ssvd base check` tells of any family what it is, what adapting it takes and what it hears."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile as sf

from adapters_store.packaged import PACKAGED
from ssvd_asr.base_command import main
from ssvd_asr.errors import BaseModelError, DataError
from tests.random_whisper import write_random_whisper
from tests.ssvd_asr.base.whisper.test_generate import waves


def test_a_random_whisper_is_told_with_its_layers_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_random_whisper(tmp_path / "tiny")
    sf.write(tmp_path / "clip.wav", waves(1)[0], 16_000)
    assert main(["check", str(folder), "--clip", str(tmp_path / "clip.wav"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["family"], found["layers"], found["ctc_head"]) == ("Whisper", 32, False)
    assert found["shapes"] == {"32 x 32": 24, "128 x 32": 4, "32 x 128": 4}
    assert found["languages"] == ["eng", "nld", "deu"]
    k = 12  # 40 % of 32
    (_, larger) = found["adapters"]
    assert larger["parameters"] == 32 * (k * (k - 1) // 2 + k)
    assert larger["domain_bytes"]["10"] == 10 * 32 * k * k * 4
    assert found["clip"]["language"] in found["languages"]


def test_the_packaged_base_is_told_in_words_with_what_it_hears(capsys: pytest.CaptureFixture[str]) -> None:
    clip = next((PACKAGED / "child" / "samples").glob("*.opus"))
    assert main(["check", "owsm-nano", "--clip", str(clip), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("owsm-nano: OWSM, ")
    assert "a CTC head" in out
    assert "100 domains" in out


def test_what_is_no_checkpoint_and_no_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"neither meta\.yaml nor config\.yaml"):
        main(["check", str(tmp_path)])
    with pytest.raises(DataError, match="there is no such file"):
        main(["check", "owsm-nano", "--clip", str(tmp_path / "no.wav")])
