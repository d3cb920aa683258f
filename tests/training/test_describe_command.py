"""ssvd adapters describe: summaries of voices for domains without one, and for bases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters_store.packaged import PACKAGED
from adapters_store.store import AdapterStore
from ssvd_asr.cli import main

CLIPS = PACKAGED / "child" / "samples" / "valid.jsonl"


def test_a_domain_and_the_base_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    for what in (["child"], ["--the-base"]):
        arguments = ["adapters", "describe", *what, "--data", str(CLIPS), "--store", str(store), "--json"]
        assert main(arguments) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["utterances"] >= 10
        assert Path(report["file"]).parent == store / "voices"
    child = AdapterStore(store)
    own = child.voices.of_version(child.resolve("child"))
    assert own is not None
    assert own.utterances == report["utterances"]  # not the package's, which is of more


def test_too_few_utterances_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = tmp_path / "few.jsonl"
    lines = CLIPS.read_text(encoding="utf-8").splitlines()[:3]
    entries = [json.loads(line) for line in lines]
    for each in entries:
        each["audio"] = str(CLIPS.parent / each["audio"])
    few.write_text("".join(f"{json.dumps(each)}\n" for each in entries), encoding="utf-8")
    store = str(tmp_path / "store")
    assert main(["adapters", "describe", "child", "--data", str(few), "--store", store]) == 1
    assert "needs 10 utterances" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_what_ships_is_described() -> None:
    store = AdapterStore()
    for name in ("child", "scottish"):
        assert store.voices.of_digest(store.resolve(f"{name}@1").sha256) is not None
