"""Settings in a TOML file: where each stands, and how each is written."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from server.configuration.names import nearest
from ssvd_asr.errors import SsvdError

_HIDDEN = "***"
# A password may have "/" and "@" in it. A name alone has no "/": hf://owner/name@branch names no user.
_USER_OF_URL = re.compile(r"(?<=://)([^/@:\s]*:\S+|[^/@\s]+)(?=@)")


def read_toml(file: Path, known: Iterable[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings that a file has, and their places, as server.toml:3.

    Raises SsvdError for a file that cannot be read, is no TOML, or has a key that is not in `known`.
    """
    try:
        text = file.read_bytes().decode()
        content = tomllib.loads(text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SsvdError(f"--config {file}: {reason}") from error
    names = set(known)
    found = {}
    for name, value in content.items():
        found[name] = _place(file, text, name)
        if isinstance(value, dict):
            raise SsvdError(f"{found[name]}: [{name}]: settings stand in no table, as port = 8000")
        if name not in names:
            raise SsvdError(f"{found[name]}: {name} is not a setting{nearest(name, names)}")
    return content, found


def _place(file: Path, text: str, name: str) -> str:
    """Return file and line of a key; the file alone where a key is written in an unusual way."""
    found = re.search(rf"(?m)^[ \t]*\[?[\"']?{re.escape(name)}\b", text)
    return str(file) if found is None else f"{file}:{text.count(chr(10), 0, found.start()) + 1}"


def written(value: Any) -> str:
    """Return a value as TOML writes it, without what nobody else is to see."""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(_USER_OF_URL.sub(_HIDDEN, str(value)), ensure_ascii=False)
