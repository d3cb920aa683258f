"""Models for many tests: tiny random ones whose weights mean nothing, and pairs that ESPnet judges."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel
    from tests.ssvd_asr.judged import Judged


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


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper in the hub's layout: read it, do not change it."""
    from tests.random_whisper import write_random_whisper

    return write_random_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture
def tiny_whisper(whisper_folder: Path) -> BaseModel:
    """A freshly loaded base that the test may adapt in place."""
    from ssvd_asr.base.load import load_base

    return load_base(whisper_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def espnet() -> Iterator[Any]:
    """The module of Speech2Text; it takes 10-30 s to import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import espnet2.bin.s2t_inference as module

        yield module


@pytest.fixture(scope="session", params=["ebranchformer", "owls", "owsm-nano"])
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A base, its export for Speech2Text and waves; do not adapt it."""
    from tests.ssvd_asr.judged import make

    return make(request.param, tmp_path_factory.mktemp("judged"))
