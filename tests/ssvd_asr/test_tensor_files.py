"""A disk that is full, or another failure to write, is an OSError and leaves no half file."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssvd_asr.tensor_files import save_checkpoint_file, save_tensors

STATE = {"weight": torch.arange(12.0).reshape(3, 4)}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    save_tensors(STATE, tmp_path / "a.safetensors", {"format": "1"})
    assert torch.equal(load_file(tmp_path / "a.safetensors")["weight"], STATE["weight"])
    save_checkpoint_file(STATE, tmp_path / "a.pth")
    assert torch.equal(torch.load(tmp_path / "a.pth", weights_only=True)["weight"], STATE["weight"])


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 100 bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("save", [save_tensors, save_checkpoint_file])
@pytest.mark.parametrize("place", ["file", "none/file"])
def test_a_failure_to_write_is_an_error_of_the_operating_system(
    tmp_path: Path, save: Callable[[dict[str, torch.Tensor], Path], None], place: str
) -> None:
    with pytest.raises(OSError, match="file cannot be written"):
        save(STATE, tmp_path / place)
    assert not list(tmp_path.rglob("*"))
