"""Files of a Whisper checkpoint, as transformers writes them: in a folder, or under a hub tag."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssvd_asr.errors import BaseModelError

CONFIG, WEIGHTS, WEIGHTS_INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER, GENERATION, FEATURES = "tokenizer.json", "generation_config.json", "preprocessor_config.json"
TEXTS = (CONFIG, GENERATION, FEATURES, TOKENIZER, "tokenizer_config.json")  # read, and copied on export
NEEDED = (CONFIG, GENERATION, TOKENIZER)


@dataclass(frozen=True)
class WhisperFiles:
    """Content of a checkpoint's small files by name, and the paths of its weights."""

    name: str
    texts: Mapping[str, bytes]
    weights: tuple[Path, ...]

    def json(self, name: str) -> dict[str, Any]:
        """Return a file's mapping, empty if there is none.

        Raises:
            BaseModelError: it is not JSON, or no mapping.
        """
        try:
            content = json.loads(self.texts.get(name, b"{}"))
        except ValueError as error:
            raise BaseModelError(f"{name} of base {self.name!r} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise BaseModelError(
                f"{name} of base {self.name!r} holds {type(content).__name__}, not a mapping"
            )
        return content


def is_whisper(folder: Path) -> bool:
    """Return whether a folder has a config.json that says so."""
    path = folder / CONFIG
    if not path.is_file():
        return False
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("model_type") == "whisper"


def read_folder(folder: Path, name: str | None = None) -> WhisperFiles:
    """Return the files of a folder.

    Raises:
        BaseModelError: a needed file is missing.
    """
    missing = [each for each in NEEDED if not (folder / each).is_file()]
    if missing:
        raise BaseModelError(f"Whisper folder {folder} lacks {', '.join(missing)}")
    texts = {each: (folder / each).read_bytes() for each in TEXTS if (folder / each).is_file()}
    return WhisperFiles(name or folder.absolute().name, texts, _weights(folder))


def fetch(tag: str) -> Path | None:
    """Download a hub model's files, once; the hub's client keeps a cache. Returns its folder.

    Returns None if the repository has no config.json or is of another family; nothing else is fetched then.

    Args:
        tag: `org/name` or `org/name@revision`.

    Raises:
        BaseModelError: the hub cannot be reached, or refuses, and the cache has no copy.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = tag.partition("@")
    try:
        config = hf_hub_download(repository, CONFIG, revision=revision or None)
        if not is_whisper(Path(config).parent):
            return None
        return Path(
            snapshot_download(
                repository, revision=revision or None,
                allow_patterns=[*TEXTS, WEIGHTS_INDEX, "model*.safetensors"],
                ignore_patterns=["model.fp32*"],
            )
        )  # fmt: skip
    except LocalEntryNotFoundError as error:  # no network, and no copy
        raise BaseModelError(_unreachable(tag, error)) from error
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, OSError) as error:
        raise BaseModelError(_unreachable(tag, error)) from error


def _unreachable(tag: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"base model {tag!r} is no folder here, and could not be fetched from the hub "
        f"({type(error).__name__}: {reason}). "
        "Without a network, download the repository elsewhere and give its folder instead of the tag"
    )


def _weights(folder: Path) -> tuple[Path, ...]:
    whole, index = folder / WEIGHTS, folder / WEIGHTS_INDEX
    if whole.is_file():
        return (whole,)
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BaseModelError(f"{index} names no files of weights: {error}") from error
        paths = tuple(folder / Path(name).name for name in names)
        missing = [path.name for path in paths if not path.is_file()]
        if not missing:
            return paths
        raise BaseModelError(f"Whisper folder {folder} lacks {', '.join(missing)}")
    raise BaseModelError(f"Whisper folder {folder} has no {WEIGHTS}")
