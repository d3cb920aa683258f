"""Loader of a base model: from a name to a frozen model, with the same checks for every checkpoint form."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ssvd_asr.base.hub import HUB_TAG, find
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.config import read_config
from ssvd_asr.base.owsm.hub_layout import EMBEDDED, META, BaseFiles, locate_base, read_folder, wanted_files
from ssvd_asr.base.owsm.kinds import build, kind_of
from ssvd_asr.base.weights import load_weights, read_weights
from ssvd_asr.base.whisper.files import CONFIG, WANTED, is_whisper, model_type
from ssvd_asr.base.whisper.files import read_folder as read_whisper
from ssvd_asr.device import forbid_tf32, resolve_device, resolve_dtype
from ssvd_asr.errors import BaseModelError
from ssvd_asr.extras import require

if TYPE_CHECKING:
    import torch


def load_base(
    spec: str | PathLike[str] = EMBEDDED,
    device: str = "auto",
    dtype: str = "auto",
    config: str | PathLike[str] | None = None,
    checkpoint: str | PathLike[str] | None = None,
) -> BaseModel:
    """Load a base model, check it and freeze it.

    Args:
        spec: `owsm-nano` (embedded), a hub tag `org/name` or `org/name@revision` (see base/hub.py), or a
            folder: of OWSM in the hub's layout or with a config.yaml and one checkpoint, of Whisper as
            transformers writes it.
        config, checkpoint: the model's two files (.pth or .safetensors); spec is then only its name.

    Raises:
        BaseModelError: the model is missing, incomplete, damaged, or of a kind that is not supported, or the
            hub refuses it or cannot be reached.
        SsvdError: there is no such device or dtype.
    """
    target = resolve_device(device)
    working = resolve_dtype(dtype, target)
    if target.type == "cuda":
        forbid_tf32()
    if config is not None or checkpoint is not None:
        files = locate_base(
            spec if isinstance(spec, str) else Path(spec),
            Path(config) if config is not None else None,
            Path(checkpoint) if checkpoint is not None else None,
        )
        return _load_owsm(files, target, working)
    tag, folder = str(spec), Path(spec)
    if HUB_TAG.fullmatch(tag) and not folder.is_dir():
        folder = _fetched(tag)
        return _load_folder(folder, tag, target, working)
    if folder.is_dir():
        return _load_folder(folder, folder.absolute().name, target, working)
    return _load_owsm(locate_base(spec if isinstance(spec, str) else folder), target, working)


def _fetched(tag: str) -> Path:
    """Return the folder of a hub model. Only small files are fetched of one that cannot be loaded.

    Raises:
        BaseModelError: it cannot be fetched, or is of no family that is known.
    """
    model = find(tag)
    folder = model.fetch_small((META, CONFIG))
    if is_whisper(folder):
        require("whisper")
        return model.fetch(WANTED)
    if (folder / META).is_file():
        return model.fetch(wanted_files(folder))
    kind = model_type(folder)
    raise BaseModelError(
        f"hub model {tag!r} is of no family that is supported: it has no {META}, as OWSM has, and its "
        + (f"{CONFIG} is missing" if kind is None else f"{CONFIG} says model_type {kind!r}, not 'whisper'")
    )


def _load_folder(folder: Path, name: str, device: torch.device, dtype: torch.dtype) -> BaseModel:
    if not is_whisper(folder):
        return _load_owsm(read_folder(folder, name), device, dtype)
    require("whisper")
    from ssvd_asr.base.whisper.model import WhisperModel
    from ssvd_asr.base.whisper.network import load_network

    files = read_whisper(folder, name)
    return WhisperModel(name, load_network(files), files, device=device, dtype=dtype)


def _load_owsm(files: BaseFiles, device: torch.device, dtype: torch.dtype) -> BaseModel:
    config = read_config(files.config, root=files.root)
    network = build(config)
    load_weights(network, read_weights(files.checkpoint), f"base checkpoint {files.checkpoint}")
    return kind_of(config)(files.name, network, config, device=device, dtype=dtype)
