"""Locator of a base model's two files: embedded, in a folder, or given one by one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from ssvd_asr.errors import BaseModelError

EMBEDDED = "owsm-nano"
_EMBEDDED_FOLDER = Path(__file__).parents[1] / "nano"
META = "meta.yaml"  # names the other files of a repository that ESPnet packed
# What a config may name: the BPE model, the statistics and the tokens.
_NAMED_BY_CONFIG = ("*.model", "*.npz", "*.txt")


@dataclass(frozen=True)
class BaseFiles:
    """Files of a base model. root: the folder that paths in the config are relative to, if known."""

    name: str
    config: Path
    checkpoint: Path
    root: Path | None


def locate_base(spec: str | Path, config: Path | None = None, checkpoint: Path | None = None) -> BaseFiles:
    """Find the files that a `--base` setting means, which is no hub tag; nothing is loaded.

    Raises:
        BaseModelError: there is no such model, or a file of it is missing.
    """
    if (config is None) != (checkpoint is None):
        raise BaseModelError("a base config and a base checkpoint belong together: give both or neither")
    if config is not None and checkpoint is not None:
        name = str(spec) if str(spec) != EMBEDDED else config.absolute().parent.name
        return BaseFiles(name, config, checkpoint, root=None)
    if str(spec) == EMBEDDED:
        return _plain_folder(_EMBEDDED_FOLDER, EMBEDDED)
    folder = Path(spec)
    if folder.is_dir():
        return read_folder(folder)
    raise BaseModelError(
        f"base model {str(spec)!r} is not {EMBEDDED!r}, a hub tag such as 'espnet/owsm_v3.1_ebf_base', "
        "or a folder that exists; a config and a checkpoint can also be given as two files"
    )


def read_folder(folder: Path, name: str | None = None) -> BaseFiles:
    """Return the files of a folder in the hub's layout (meta.yaml), or with config.yaml and one checkpoint.

    Raises:
        BaseModelError: meta.yaml is unusable or names a file that is missing or outside the folder, or the
            folder has neither layout.
    """
    meta_file = folder / META
    name = name or folder.absolute().name
    if not meta_file.is_file():
        return _plain_folder(folder, name)
    config, checkpoint = (_inside(folder, each, meta_file) for each in _named(meta_file))
    return BaseFiles(name, config, checkpoint, root=folder.absolute())


def wanted_files(folder: Path) -> tuple[str, ...]:
    """Return the patterns of the files to fetch of a repository whose meta.yaml is in `folder`.

    Plots and other checkpoints are left out. Raises BaseModelError if meta.yaml is unusable.
    """
    return (META, *_named(folder / META), *_NAMED_BY_CONFIG)


def _named(meta_file: Path) -> tuple[str, str]:
    """Return the names of config and checkpoint."""
    try:
        meta = yaml.safe_load(meta_file.read_text(encoding="utf-8"))
        return str(meta["yaml_files"]["s2t_train_config"]), str(meta["files"]["s2t_model_file"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise BaseModelError(
            f"{meta_file} does not name yaml_files.s2t_train_config and files.s2t_model_file "
            f"({type(error).__name__}: {error}); is it an S2T model?"
        ) from error


def _plain_folder(folder: Path, name: str) -> BaseFiles:
    config = folder / "config.yaml"
    if not config.is_file():
        raise BaseModelError(f"base model folder {folder} has neither meta.yaml nor config.yaml")
    checkpoints = sorted([*folder.glob("*.safetensors"), *folder.glob("*.pth")])
    if len(checkpoints) != 1:
        found = ", ".join(path.name for path in checkpoints) or "none"
        raise BaseModelError(
            f"base model folder {folder} needs one .safetensors or .pth beside config.yaml: {found}"
        )
    return BaseFiles(name, config, checkpoints[0], root=folder.absolute())


def _inside(folder: Path, named: str, meta_file: Path) -> Path:
    """Return the path of a file in the folder, or raise BaseModelError.

    Paths are compared as text, because files of a hub cache are links to a store outside the folder.
    """
    path = Path(os.path.normpath(folder.absolute() / named))
    if not path.is_relative_to(os.path.normpath(folder.absolute())):
        raise BaseModelError(f"{meta_file} names {named!r}, which lies outside its folder")
    if not path.is_file():
        raise BaseModelError(f"{meta_file} names {named!r}, which is missing")
    return path
