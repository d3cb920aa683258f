"""`ssvd factorize`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssvd_asr.base.factorize_command import main
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factor_folder, factorize


def test_it_fills_the_cache_and_reports_one_json_object(
    tiny_base: BaseModel, tiny_owsm_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--base", str(tiny_owsm_folder), "--cache-dir", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    folder = factor_folder(tiny_base.digest, tmp_path)
    assert report["base_digest"] == tiny_base.digest
    assert report["folder"] == str(folder)
    assert report["layers"] == len(list(folder.glob("*.safetensors"))) > 30
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert factorize(tiny_base, tmp_path, progress=False).keys()
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_it_says_in_words_where_the_factors_are(
    tiny_owsm_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--base", str(tiny_owsm_folder), "--cache-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert str(tmp_path / "factors") in shown.out
    assert "factorize" in shown.err  # the progress bar


def test_a_base_that_is_missing_is_an_error_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--base", str(tmp_path / "nowhere"), "--json"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("ssvd factorize: ")
    assert "nowhere" in shown.err
