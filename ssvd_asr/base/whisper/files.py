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
WANTED = (
    *TEXTS,
    WEIGHTS_INDEX,
    WEIGHTS,
    "model-*.safetensors",
)  # patterns of the files to fetch of a repository


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
    return model_type(folder) == "whisper"


def model_type(folder: Path) -> str | None:
    """Return the family that a folder's config.json names as transformers does; None without such a file."""
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    return str(content.get("model_type")) if isinstance(content, dict) else None


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
