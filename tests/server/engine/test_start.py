"""What the server starts with, it says."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from server.engine import start
from server.settings import ServerSettings
from ssvd_asr.errors import LanguageError
from tests.random_owsm import write_random_owsm


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_base_device_and_number_format_are_told(
    dtype: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSVD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(start, "slow_in", lambda working, _: working is torch.bfloat16)
    folder = write_random_owsm(tmp_path / "tiny")
    settings = ServerSettings(base=str(folder), device="cpu", dtype=dtype, store=tmp_path / "store")
    with caplog.at_level(logging.INFO, "server"):
        start.start_engine(settings).close(timeout_s=30)
    told = "float32" if dtype == "auto" else dtype
    assert f"on cpu in {told}, {torch.get_num_threads()} threads" in caplog.text
    assert ("float32 is faster here" in caplog.text) == (dtype == "bfloat16")


def test_a_default_language_that_the_base_has_not_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSVD_CACHE_DIR", str(tmp_path / "cache"))
    folder = write_random_owsm(tmp_path / "tiny")
    settings = ServerSettings(base=str(folder), language="fo", store=tmp_path / "store")
    with pytest.raises(LanguageError, match=r"SSVD_LANGUAGE.* no language 'fo' \(faroese, fao\); it has eng"):
        start.start_engine(settings)
