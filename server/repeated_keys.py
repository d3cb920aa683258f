"""Keys that an object of a client's JSON has twice: Python's reader takes the last one in silence."""

from __future__ import annotations

import json
from collections import Counter


def repeated_key(text: str | bytes) -> str | None:
    """Return a key that an object of the JSON has twice; None if there is none, or for what is no JSON."""
    found: list[str] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        found.extend(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)

    try:
        json.loads(text, object_pairs_hook=note)
    except ValueError:
        return None
    return found[0] if found else None
