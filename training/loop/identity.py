"""Identity of a run: the options of `ssvd train`, and digests of its data, that a resumed run must share.

Options that do not change the result are not in it: device, processes, memory, folders, and where to publish.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from training.corpus.dataset import Dataset
from training.methods.choices import option_of
from training.recipe import Recipe
from training.run_settings import RunSettings

RECIPE = "recipe"  # the key under which the recipe's fields stand


def identity_of(
    settings: RunSettings,
    recipe: Recipe,
    *,
    base_digest: str,
    train: Dataset,
    valid: Dataset,
    autocast: bool,
    method: Mapping[str, object],
) -> dict[str, Any]:
    """Return the identity of a run as JSON values by option, without dashes.

    Args:
        autocast: whether it computes in bfloat16.
        method: the options of its method, by field of RunSettings, with their defaults filled in.

    Raises DataError if the test data are no manifest.
    """
    return {
        "domain": settings.domain,
        "data": train.digest,
        "valid": valid.digest,
        "test": None if settings.test is None else _entries_digest(settings.test),
        "base": base_digest,
        "language": settings.language,
        "dtype": "bfloat16" if autocast else "float32",
        "method": settings.method,
        "scope": settings.scope,
        "scale": settings.scale,
        **dict(option_of(field, value) for field, value in method.items()),
        RECIPE: recipe.model_dump(),
    }


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return a line for each option that two identities do not share, by its name on the command line."""
    then, now = dict(stored), json.loads(json.dumps(dict(wanted)))
    recipes = then.pop(RECIPE, {}), now.pop(RECIPE, {})
    return [
        *_lines(then, now, absent="not given"),
        *_lines(*recipes, absent="none"),  # a value of the recipe's options
    ]


def _lines(then: Mapping[str, Any], now: Mapping[str, Any], *, absent: str) -> Iterator[str]:
    for name in sorted(then.keys() | now.keys()):
        before, after = then.get(name), now.get(name)
        if before != after:
            option = f"--{name.replace('_', '-')}"
            yield f"{option}: {_shown(before, absent)} then, {_shown(after, absent)} now"


def _shown(value: Any, absent: str) -> str:
    if value is None:
        return absent
    return str(value).lower() if isinstance(value, bool) else str(value)


def _entries_digest(source: Path) -> str:
    """Return the SHA-256 over texts, names of files and sections of scored data, wherever their folder is."""
    hasher = sha256()
    for entry in read_entries(source):
        if isinstance(entry, Utterance):
            audio = entry.audio
            named = audio.name if isinstance(audio, Path) else replace(audio, file=Path(audio.file.name))
            section = (entry.id, named, entry.start_s, entry.duration_s, entry.channel, entry.text)
            hasher.update(f"{section}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{hasher.hexdigest()}"
