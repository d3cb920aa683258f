"""Tiny random Whispers, one that knows several languages and one that knows English only."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from tests.random_whisper import write_random_whisper


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, do not change it."""
    return write_random_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="session")
def english_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, do not change it."""
    return write_random_whisper(tmp_path_factory.mktemp("whisper") / "tiny.en", multilingual=False, seed=2)


@pytest.fixture
def tiny_whisper(whisper_folder: Path) -> BaseModel:
    """A freshly loaded base that the test may adapt in place."""
    return load_base(whisper_folder, device="cpu", dtype="float32")
