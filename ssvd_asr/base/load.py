"""Loader of a base model: from a name to a frozen model, with the same checks for every checkpoint form."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.config import read_config
from ssvd_asr.base.owsm.hub_layout import EMBEDDED, HUB_TAG, locate_base
from ssvd_asr.base.owsm.model import OwsmModel
from ssvd_asr.base.owsm.network import build_network
from ssvd_asr.base.weights import load_weights, read_weights
from ssvd_asr.device import forbid_tf32, resolve_device, resolve_dtype
from ssvd_asr.extras import require

if TYPE_CHECKING:
    import torch

ESPNET_OWNER = "espnet/"


def load_base(
    spec: str | PathLike[str] = EMBEDDED,
    device: str = "auto",
    dtype: str = "auto",
    config: str | PathLike[str] | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> BaseModel:
    """Load a base model, check it and freeze it.

    Args:
        spec: `owsm-nano` (embedded), a hub tag `org/name` or `org/name@revision`, or a folder: of OWSM in
            the hub's layout or with a config.yaml and one checkpoint, of Whisper as transformers writes it.
        config, checkpoint: the model's two files (.pth or .safetensors); spec is then only its name.

    Raises:
        BaseModelError: the model is missing, incomplete, damaged, or of a kind that is not supported.
        SsvdError: there is no such device or dtype.
    """
    target = resolve_device(device)
    working = resolve_dtype(dtype, target)
    if target.type == "cuda":
        forbid_tf32()
    if config is None and checkpoint is None:
        whisper = _whisper_folder(spec)
        if whisper is not None:
            return _load_whisper(whisper, str(spec), target, working)
    name = spec if isinstance(spec, str) else Path(spec)
    files = locate_base(
        name,
        Path(config) if config is not None else None,
        Path(checkpoint) if checkpoint is not None else None,
    )
    model_config = read_config(files.config, root=files.root)
    network = build_network(model_config)
    load_weights(network, read_weights(files.checkpoint), f"base checkpoint {files.checkpoint}")
    return OwsmModel(files.name, network, model_config, device=target, dtype=working)


def _whisper_folder(spec: str | PathLike[str]) -> Path | None:
    """Return the folder of a Whisper, fetched if `spec` is a hub tag; None for another family."""
    from ssvd_asr.base.whisper.files import fetch, is_whisper

    folder = Path(spec)
    if folder.is_dir():
        return folder if is_whisper(folder) else None
    tag = str(spec)
    # ESPnet's own repositories have no config.json to look at.
    return fetch(tag) if HUB_TAG.fullmatch(tag) and not tag.startswith(ESPNET_OWNER) else None


def _load_whisper(folder: Path, spec: str, device: torch.device, dtype: torch.dtype) -> BaseModel:
    from ssvd_asr.base.whisper.files import read_folder
    from ssvd_asr.base.whisper.model import WhisperModel
    from ssvd_asr.base.whisper.network import load_network

    require("whisper")
    files = read_folder(folder, None if Path(spec).is_dir() else spec)
    return WhisperModel(files.name, load_network(files), files, device=device, dtype=dtype)
