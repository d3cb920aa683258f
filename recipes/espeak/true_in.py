"""Measures what is read of each kind of audio file and manifest, before and now: docs/results/true-in.md.

    python -m recipes.espeak.true_in [--before COMMIT] [--before-lists COMMIT]

Each `before` is run from a checkout of its own.  With `--measure FOLDER` the file prints what the reader
found in that folder and nothing else; it imports only what the first commits have too.  `true_lists` does the
same for manifests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

BEFORE = "7da7354"  # the first commit that reads audio
BEFORE_LISTS = "d05c461"  # the first commit that reads manifests
PAGE = Path("docs/results/true-in.md")
SAMPLE_RATE = 16_000
BLOCK_S = 0.1  # in which sound is looked for
SOUND_RMS = 0.01
SHOWN_CHARS = 60  # of a refusal

Found = Mapping[str, Any]  # seconds and sound_s, or refused; warnings


def read(file: Path) -> Found:
    """Return what today's reader, or that of the commit imported from, makes of a file."""
    import numpy as np

    try:
        reader = import_module("ssvd_asr.audio.read")
    except ModuleNotFoundError:  # the first commits
        reader = import_module("ssvd_asr.audio")
    try:
        if hasattr(reader, "read_recording"):
            recording = reader.read_recording(file)
            wave, warnings = recording.waves[0], recording.warnings[0]
        else:
            wave, warnings = reader.read_audio(file), ()
    except ValueError as error:
        return {"refused": str(error).removeprefix(f"{file}: ")}
    block = round(BLOCK_S * SAMPLE_RATE)
    blocks = wave[: len(wave) // block * block].reshape(-1, block)
    sound_s = BLOCK_S * float(np.count_nonzero(blocks.std(axis=1) > SOUND_RMS))
    return {"seconds": len(wave) / SAMPLE_RATE, "sound_s": sound_s, "warnings": list(warnings)}


def measure(folder: Path) -> dict[str, Found]:
    """Return what is read of each file of a folder, by the file's name."""
    return {file.name: read(file) for file in sorted(folder.iterdir())}


def measured(script: Path, options: list[str], folder: Path, path: str) -> dict[str, Found]:
    """Run a script that measures a folder in a process that imports from `path`."""
    command = [sys.executable, str(script.absolute()), *options, str(folder)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Found] = json.loads(done.stdout)
    return found


def before_and_now(
    script: Path, options: list[str], folder: Path, commit: str
) -> tuple[dict[str, Found], dict[str, Found]]:
    """Return what the readers of a commit and of today make of a folder."""
    now = measured(script, options, folder, ".")
    with TemporaryDirectory() as place:
        checkout = str(Path(place) / "before")
        subprocess.run(["git", "worktree", "add", "--detach", checkout, commit], check=True)
        try:
            before = measured(script, options, folder, checkout)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", checkout], check=True)
    return before, now


def compare(commit: str) -> str:
    """Make the audio files, read them by both readers and return the part of the page."""
    from recipes.espeak.audio_kinds import kinds

    files = list(kinds())
    with TemporaryDirectory() as folder:
        for index, kind in enumerate(files):
            (Path(folder) / f"{index:03}").write_bytes(kind.data)
        before, now = before_and_now(Path(__file__), ["--measure"], Path(folder), commit)
    lines = [
        "# What is read of an audio file",
        "",
        "Written by `python -m recipes.espeak.true_in`. Each file holds a tone, and there is one file of",
        f"each kind. `before` is commit {commit}. A cell has the seconds that were read and, of these, the",
        f"seconds with sound: blocks of {BLOCK_S} s whose standard deviation is over {SOUND_RMS} of "
        "full scale.",
        "",
        "| file | there | before | now | `ssvd.warnings` now |",
        "|---|---|---|---|---|",
    ]
    for index, kind in enumerate(files):
        name = f"{index:03}"
        there = f"{kind.seconds:.1f}, {kind.sound_s:.1f}"
        told = "; ".join(now[name].get("warnings", ()))
        cells = (kind.name, there, _cell(before[name]), _cell(now[name]), told)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def compare_lists(commit: str) -> str:
    """Make the manifests, read them by both readers and return the part of the page."""
    from recipes.espeak import true_lists
    from recipes.espeak.manifest_kinds import manifest_kinds

    made = list(manifest_kinds())
    with TemporaryDirectory() as folder:
        for index, kind in enumerate(made):
            kind.write(Path(folder) / f"{index:03}")
        sources = {f"{index:03}": kind.source for index, kind in enumerate(made)}
        (Path(folder) / true_lists.INDEX_FILE).write_text(json.dumps(sources), encoding="utf-8")
        before, now = before_and_now(Path(true_lists.__file__), [], Path(folder), commit)
    lines = [
        "",
        "# What is made of a manifest",
        "",
        f"Written by the same command. `before` is commit {commit}, the first that reads manifests; it read",
        "JSON lines, Kaldi's directories and lhotse's cuts. Each folder has `a.wav`, 3 s of tone, and",
        "`two.wav`, 2 s of two channels, the first of them silent. A cell has the seconds and the text of",
        "each utterance that is used, and the reasons for which others are left out.",
        "",
        "| manifest | before | now |",
        "|---|---|---|",
    ]
    for index, kind in enumerate(made):
        name = f"{index:03}"
        lines.append(f"| {kind.name} | {_list_cell(before[name])} | {_list_cell(now[name])} |")
    return "\n".join(lines) + "\n"


def _list_cell(found: Found) -> str:
    if "broke" in found:
        return f"traceback: {found['broke']}"
    if "refused" in found:
        return _cell(found)
    reasons = [f"left out: {reason}" for reason in found["left_out"]]
    used = [f"`{each}`" for each in found["used"]]
    return "; ".join([*used, *reasons]).replace("|", "\\|") or "nothing"


def _cell(found: Found) -> str:
    if "refused" in found:
        reason = found["refused"].replace("|", "\\|")
        return f"refused: {reason[:SHOWN_CHARS].rstrip()}{'...' if len(reason) > SHOWN_CHARS else ''}"
    return f"{found['seconds']:.1f}, {found['sound_s']:.1f}"


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help="to compare with")
    parser.add_argument(
        "--before-lists", default=BEFORE_LISTS, metavar="COMMIT", help="the same, of manifests"
    )
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="print what is read of its files")
    arguments = parser.parse_args(argv)
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
    else:
        page = compare(arguments.before) + compare_lists(arguments.before_lists)
        PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
