from pathlib import Path

import pytest

from adapters_store.store import AdapterStore
from tests.adapters_store.adapter_samples import adapter_file, builtin_folder


@pytest.fixture
def builtin(tmp_path: Path) -> Path:
    return builtin_folder(tmp_path, child=100, scottish=101)


@pytest.fixture
def store(tmp_path: Path, builtin: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "root", builtin)


@pytest.fixture
def make(tmp_path: Path):
    """make(seed) -> path of an adapter file."""
    return lambda seed, **more: adapter_file(tmp_path, seed, **more)
