"""What the recipes' tests share: a tiny random base, own folders, short noise as audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.random_owsm import write_random_owsm

# One epoch of two batches: that the whole way is walked, not that anything is learned.
SHORT = ["--epochs", "1", "--min-batches-per-epoch", "2", "--max-batches-per-epoch", "2", "--lr", "0.02"]


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither the user's factor cache nor the user's store."""
    shared = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("SSVD_CACHE_DIR", str(shared / "ssvd-cache"))
    monkeypatch.setenv("SSVD_STORE", str(shared / "ssvd-store"))


@pytest.fixture(scope="session")
def random_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random OWSM with a window of 2 s, in the hub's layout."""
    return write_random_owsm(tmp_path_factory.mktemp("base") / "tiny")


def write_noise(path: Path, duration_s: float, *, channels: int = 1, rate_hz: int = 16_000) -> Path:
    """Quiet noise of that length; the format is the name's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(duration_s * rate_hz), channels)
    noise = np.random.default_rng(len(path.name)).normal(scale=0.05, size=shape)
    sf.write(path, noise, rate_hz)
    return path
