"""Writing of tensors to files, where a full disk is an error of the operating system as elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file. A file that cannot be written whole is removed.

    Raises:
        OSError: it cannot be written. safetensors has an error of its own, which is no OSError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, None if metadata is None else dict(metadata))
    except SafetensorError as error:
        path.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error}") from error


def save_checkpoint_file(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a file of torch, as ESPnet reads it. A file that cannot be written whole is removed.

    Raises:
        OSError: it cannot be written. torch has a RuntimeError for it.
    """
    import torch

    try:
        torch.save(dict(state), path)
    except RuntimeError as error:
        path.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {str(error).splitlines()[0]}") from error
