"""Reader of checkpoints: checks every name, shape and value, and runs no code from the file."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvd_asr.errors import BaseModelError

if TYPE_CHECKING:
    import torch

BASE_DIGEST_KEY = "base_digest"  # metadata key in the whole weights that a training run writes
_SHOWN = 5  # names listed in a message


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a .safetensors file, or of a .pth that holds only tensors.

    Raises:
        BaseModelError: the file is missing or damaged, would run code when unpickled, or is no state dict.
    """
    import torch

    if not path.is_file():
        raise BaseModelError(f"base checkpoint {path} does not exist")
    if path.suffix == ".safetensors":
        import safetensors
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except safetensors.SafetensorError as error:
            raise BaseModelError(f"base checkpoint {path} is damaged: {error}") from error
    try:
        # mmap keeps one copy of a 4 GB file in memory instead of two; the format before zip has no mmap.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise BaseModelError(
            f"base checkpoint {path} is damaged, or holds more than tensors and would run code when read; "
            f"it is refused (torch.load weights_only=True says: {_first_line(error)})"
        ) from error
    return _state_dict(content, path)


def load_weights(network: torch.nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Cast `network` to float32, then `fill` it."""
    network.float()  # statistics read from .npz are float64; a checkpoint's own are float32
    fill(network, state, source)


def fill(network: torch.nn.Module, state: dict[str, torch.Tensor], source: str) -> None:
    """Copy `state` into `network`, after ESPnet's hooks have renamed keys of older versions.

    Raises:
        BaseModelError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes
        raise BaseModelError(f"{source} does not fit its config: {error}") from error
    if missing or unexpected:
        raise BaseModelError(
            f"{source} does not fit its config: {len(missing)} tensors missing ({_names(missing)}), "
            f"{len(unexpected)} unknown ({_names(unexpected)})"
        )
    broken = [name for name, tensor in network.state_dict().items() if not _is_finite(tensor)]
    if broken:
        raise BaseModelError(f"{source} has NaN or infinite values in {_names(broken)}")


def _is_finite(tensor: torch.Tensor) -> bool:
    """Return whether every value is finite. The extremes tell, NaN too, in less time than isfinite of all."""
    import torch

    return tensor.numel() == 0 or bool(torch.stack(tensor.aminmax()).isfinite().all())


def read_trained(path: Path, base_digest: str) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tensors of a safetensors file of whole weights, and the file's SHA-256.

    Raises:
        BaseModelError: the file cannot be read, or its metadata names another base.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        state = load(data)
        with safe_open(path, framework="pt") as file:
            made_from = (file.metadata() or {}).get(BASE_DIGEST_KEY, base_digest)
    except (OSError, SafetensorError) as error:
        raise BaseModelError(f"weights {path} cannot be read: {error}") from error
    if made_from != base_digest:
        raise BaseModelError(f"weights {path} were trained from base {made_from}; this base is {base_digest}")
    return state, hashlib.sha256(data).hexdigest()


def _state_dict(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """Unwrap as Speech2Text does: DeepSpeed nests in "module", Lightning in "state_dict"."""
    import torch

    for key in ("module", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise BaseModelError(f"base checkpoint {path} holds {type(content).__name__}, not a state dict")
    strangers = [str(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise BaseModelError(
            f"base checkpoint {path} is not a state dict: {_names(strangers)} are not tensors "
            "(a training checkpoint? use the model file, such as valid.*.ave.pth)"
        )
    return dict(content)


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) or "none"
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
