"""A tiny random OWSM and a corpus of tones: what is learned means nothing, how it is learned is exact."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from ssvd_asr.base.model import BaseModel
from tests.random_owsm import SENTENCES, waves, write_random_owsm
from tests.training.runs import RECIPE, MakeSession


def write_corpus(folder: Path, name: str, count: int, seed: int) -> Path:
    """``count`` clips of 0.4-2.4 s with three-word texts, as FLAC and a JSONL manifest."""
    (folder / name).mkdir(parents=True)
    lines = []
    for index, wave in enumerate(waves(count, seed=seed)):
        sf.write(folder / name / f"{index}.flac", wave[:38_400], 16_000)
        text = " ".join(SENTENCES[index % len(SENTENCES)].split()[:3])
        lines.append({"id": f"{name}-{index}", "audio": f"{name}/{index}.flac", "text": text})
    return write_manifest(folder / f"{name}.jsonl", lines)


def write_manifest(path: Path, lines: list[Any]) -> Path:
    """One JSON value a line; a string is written as it stands."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random OWSM in the hub's layout."""
    return write_random_owsm(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def base(base_folder: Path) -> BaseModel:
    """Loaded anew for each test: training adapts the network in place."""
    from ssvd_asr.base.load import load_base

    return load_base(base_folder, device="cpu")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl (10 clips) and valid.jsonl (4)."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, "train", 10, seed=1)
    write_corpus(folder, "valid", 4, seed=2)
    return folder


@pytest.fixture
def session(base_folder: Path, corpus: Path, tmp_path: Path) -> MakeSession:
    """session("out", {recipe changes}, setting=...) -> a Session on the corpus, in tmp_path/out."""
    from training.loop.run import RunSettings, Session

    def make(out: str = "run", changes: dict[str, object] | None = None, **settings: Any) -> Session:
        asked = RunSettings(
            domain="tones",
            data=corpus / "train.jsonl",
            valid=corpus / "valid.jsonl",
            out=tmp_path / out,
            base=str(base_folder),
            k=6,
            scale=1.0,  # not chosen, as that decodes six times
            device="cpu",
            progress=False,
        )
        return Session(replace(asked, **settings), {**RECIPE, **(changes or {})})

    return make


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither the user's factor cache nor the user's store."""
    shared = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("SSVD_CACHE_DIR", str(shared / "ssvd-cache"))
    monkeypatch.setenv("SSVD_STORE", str(shared / "ssvd-store"))
