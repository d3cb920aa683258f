"""The cache's folder is the argument's, the environment's or the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssvd_asr.cache_root import cache_root


def test_the_cache_folder_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSVD_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_root() == tmp_path / "mine"
    assert cache_root(tmp_path / "argument") == tmp_path / "argument"
    monkeypatch.delenv("SSVD_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_root() == tmp_path / "user" / "ssvd-asr"
