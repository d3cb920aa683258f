"""One tiny random OWSM for every test that needs a base model; its weights mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel


@pytest.fixture(scope="session")
def tiny_owsm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub repository on disk: read it, do not change it."""
    from tests.random_owsm import write_random_owsm

    return write_random_owsm(tmp_path_factory.mktemp("hub") / "tiny-owsm")


@pytest.fixture
def tiny_base(tiny_owsm_folder: Path) -> BaseModel:
    """A freshly loaded model that the test may adapt in place."""
    from ssvd_asr.base.load import load_base

    return load_base(tiny_owsm_folder, device="cpu", dtype="float32")
