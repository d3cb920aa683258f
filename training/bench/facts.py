"""Result lines besides runs: the speakers of the test sets, and the basis bytes of each config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.bench.cost import basis_bytes
from training.bench.study import TEST_CORPORA, Config

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel


def facts(
    done: Sequence[Mapping[str, Any]],
    configs: Sequence[Config],
    manifests: Mapping[str, Path],
    base: BaseModel,
) -> Iterator[dict[str, Any]]:
    """Yield the lines that are missing from a study's results."""
    from ssvd_asr.basis.cache import factorize

    if not any(result["stage"] == "voices" for result in done):
        yield voices_line(manifests)
    known = [(result["key"], result.get("options")) for result in done]
    missing = [each for each in configs if (f"basis/{each.name}", dict(each.options)) not in known]
    factors = factorize(base, progress=False) if missing else {}
    for config in missing:
        yield {
            "key": f"basis/{config.name}", "stage": "basis", "config": config.name,
            "options": dict(config.options), "bytes": basis_bytes(config.options, factors),
        }  # fmt: skip


def voices_line(manifests: Mapping[str, Path]) -> dict[str, Any]:
    """Return the number of each test utterance's voice; intervals are drawn over voices."""
    tests = {}
    for test, corpus in TEST_CORPORA.items():
        entries = [json.loads(line) for line in manifests[corpus].read_text(encoding="utf-8").splitlines()]
        # An utterance without a speaker counts as a voice of its own.
        names = [entry.get("speaker") or f"{place}:" for place, entry in enumerate(entries)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        tests[test] = [numbers[name] for name in names]
    return {"key": "voices", "stage": "voices", "tests": tests}
