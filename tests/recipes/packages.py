"""Miniatures of Debian packages, and what the tests of their recipes share."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import soundfile as sf

from recipes.debian.clips import split_of
from recipes.debian.command import DebianRecipe, run
from recipes.debian.package import Package
from recipes.entries import SPLITS
from ssvd_asr.audio.read import AudioLimits
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from ssvd_asr.scoring import normalise

RATE_HZ = 22_050
WINDOW = AudioLimits(max_duration_s=30.0, max_bytes=2**24)


def named(split: str, others: str = "level") -> str:
    """The first name like level0, level1, ... that our rule puts into that split."""
    return next(name for n in range(1000) if split_of(name := f"{others}{n}") == split)


def write_sound(path: Path, duration_s: float = 1.0, *, levels: tuple[float, ...] = (0.05,)) -> Path:
    """Noise, another in each file; a level for each channel. The format is the name's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(crc32(str(path).encode())).normal(
        size=(round(duration_s * RATE_HZ), 1)
    ) * np.array(levels)
    sf.write(path, noise, RATE_HZ)
    return path


def prepare(recipe: DebianRecipe, corpus: Path, out: Path, *options: str) -> dict[str, Any]:
    """Run the recipe on a miniature and return its report."""
    assert run(recipe, ["--corpus", str(corpus), "--out", str(out), *options]) == 0
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def manifest(out: Path, split: str) -> dict[str, dict[str, Any]]:
    """A manifest's lines by id."""
    return {line["id"]: line for line in lines(out / f"{split}.jsonl")}


def reasons(out: Path) -> Counter[str]:
    """How many utterances were left out for each reason."""
    return Counter(line["reason"] for line in lines(out / "left-out.jsonl"))


def left_out(out: Path) -> dict[str, str]:
    """The reason for which each utterance was left out, by id."""
    return {line["id"]: line["reason"] for line in lines(out / "left-out.jsonl")}


def check_manifests(out: Path, splits: tuple[str, ...] = SPLITS) -> dict[str, list[Utterance]]:
    """Check what holds for every recipe; return the utterances of each split.

    Our reader understands every line and can read the sound of the first of each split; no text is in two
    splits; no utterance is both kept and left out; the report's counts are those of the files.
    """
    found: dict[str, list[Utterance]] = {}
    for split in splits:
        entries = read_entries(out / f"{split}.jsonl")
        assert all(isinstance(entry, Utterance) for entry in entries)
        found[split] = [entry for entry in entries if isinstance(entry, Utterance)]
        for utterance in found[split][:1]:
            assert len(read_utterance(utterance, WINDOW)) > 0
    texts = [{normalise(utterance.text) for utterance in utterances} for utterances in found.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
    ids = [utterance.id for utterances in found.values() for utterance in utterances]
    assert len(ids) == len(set(ids))
    assert not set(ids) & left_out(out).keys()
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for split, utterances in found.items():
        row = report["splits"].get(split, {"kept": 0, "minutes": 0.0})
        assert row["kept"] == len(utterances)
        seconds = sum(utterance.file_s or 0.0 for utterance in utterances)
        assert row["minutes"] == pytest.approx(seconds / 60, abs=0.02)
    assert sum(
        row["left_out"].get(reason, 0) for row in report["splits"].values() for reason in row["left_out"]
    ) == (reasons(out).total())
    return found


def told(recipe: DebianRecipe, first_cell: str) -> list[str]:
    """The other cells of a row of the recipe's README."""
    readme = Path(__file__).parents[2] / "recipes" / recipe.name / "README.md"
    (row,) = (
        line
        for line in readme.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {first_cell} |")
    )
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def counted(report: dict[str, Any], *splits: str) -> list[str]:
    """Utterances and minutes of some splits, as a README tells them."""
    rows = [report["splits"][split] for split in splits]
    return [f"{sum(row['kept'] for row in rows):,}", f"{sum(row['minutes'] for row in rows):.1f}"]


def skip_without(**versions: str) -> None:
    """Skip a test that counts in installed packages, unless the counted versions of them are installed."""
    names = tuple(name.replace("_", "-") for name in versions)
    installed = Package(names).versions()
    for name, version in zip(names, versions.values(), strict=True):
        if installed[name] != version:
            found = installed[name] or "none"
            pytest.skip(f"needs {name} {version}, found {found}: apt-get install {' '.join(names)}")
