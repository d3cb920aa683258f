"""Page of the study: docs/results/real.md."""

from __future__ import annotations

from pathlib import Path

from recipes.real_speech.study import Results


def write_page(done: Results, data: Path, path: Path) -> Path:
    """Write the page of these results and return its path."""
    lines = [f"{key}: {100 * each['wer']:.1f}" for key, each in done.items()]
    path.write_text("\n".join([str(data.name), *lines, ""]), encoding="utf-8")
    return path
