"""Settings that hold several values."""

from __future__ import annotations


def listed(value: str | None) -> tuple[str, ...]:
    """Return the values of a text with commas between them."""
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())
