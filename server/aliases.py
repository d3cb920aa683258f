"""Other names of models, for clients that send a fixed one: `whisper-1=owsm-nano, large=owsm-nano:auto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def read_aliases(pairs: Sequence[str]) -> dict[str, str]:
    """Return the model of each name, from texts "name=model". Raises ValueError for any other text."""
    found: dict[str, str] = {}
    for pair in pairs:
        alias, sign, model = (part.strip() for part in pair.partition("="))
        if not (alias and sign and model):
            raise ValueError(f"{pair!r} is no alias: use name=model, as whisper-1=owsm-nano:child")
        if alias in found:
            raise ValueError(f"{alias!r} is given twice")
        found[alias] = model
    return found


def aliased(aliases: Mapping[str, str], model: str | None) -> str | None:
    """Return the model that a name stands for; the name itself if it is no alias."""
    return None if model is None else aliases.get(model, model)
