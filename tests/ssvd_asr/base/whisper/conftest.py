"""A tiny random Whisper that knows English only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.random_whisper import write_random_whisper


@pytest.fixture(scope="session")
def english_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, do not change it."""
    return write_random_whisper(tmp_path_factory.mktemp("whisper") / "tiny.en", multilingual=False, seed=2)
