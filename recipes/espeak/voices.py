"""Voices for espeak-ng: its own variants by split, and random variants for training.

espeak-ng ships some 60 variants that sound like adults. A model trained on those alone generalised poorly: a
voice with another second formant had four times the errors of the others. Drawn variants change formants,
source and timbre independently over wider ranges.
"""

from __future__ import annotations

import atexit
import functools
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

# espeak-ng's voice variants that sound like adults, without robots and whispers.
_VARIANTS = {
    "train": (
        "f1 f2 f4 m1 m2 m4 m5 m6 m8 Alex Alicia Andrea Andy Denis Diogo Gene Henrique Hugo Jacky Lee "
        "Marco Mike Nguyen adam anika antonio aunty belinda benjamin boris caleb david ed edward grandma "
        "gustave iven iven3 john kaukovalta klatt klatt2 linda marcelo max miguel norbert pablo paul "
        "pedro rob sandro steph travis victor zac"
    ),
    "valid": ("f5 m3 Gene2 iven2 robert klatt4"),
    "test": ("f3 m7 Annie Mario Michael announcer iven4 shelby steph2 michel quincy edward2"),
}
VOICES = {split: names.split() for split, names in _VARIANTS.items()}
DRAWN = 600
_FOLDER = 200  # drawn voices per folder: espeak-ng lists 349 at most (N_VOICES_LIST), about 100 are its own
DRAWN_SHARE = 0.65  # of the training utterances


def choose_variant(split: str, rng: random.Random) -> str:
    """Choose the name of a variant of ``split``; drawn variants are for training only."""
    if split == "train" and rng.random() < DRAWN_SHARE:
        return f"drawn{rng.randrange(DRAWN):03d}"
    return rng.choice(VOICES[split])


def drawn_variant(number: int) -> str:
    """Return the variant file of drawn voice ``number``, which depends on the number only.

    Fields: https://github.com/espeak-ng/espeak-ng/blob/master/docs/voices.md (percentages of the default,
    pitches in Hz, echo in ms).
    """
    rng = random.Random(f"voice/{number}")

    def percent(low: float, high: float) -> int:
        return round(rng.uniform(low, high))

    tract = rng.uniform(0.9, 1.12)  # all formants together: the length of the vocal tract
    lines = ["language variant", f"name drawn{number:03d}"]
    if rng.random() < 0.3:
        lines.append(f"klatt {rng.choice((1, 2, 3, 4, 6))}")
    for formant in range(6):
        low, high = ((0.9, 1.1), (0.88, 1.12), (0.88, 1.3), (0.9, 1.25), (0.9, 1.2), (0.9, 1.2))[formant]
        frequency = round(100 * tract * rng.uniform(low, high))
        lines.append(f"formant {formant} {frequency} {percent(65, 130)} {percent(65, 150)}")
    for formant in (6, 7, 8):
        lines.append(f"formant {formant} 100 {percent(10, 120)} 100")
    pitch = percent(65, 190)
    lines.append(f"pitch {pitch} {round(pitch * rng.uniform(1.15, 1.9))}")
    lines.append(f"voicing {percent(40, 155)}")
    lines.append(f"consonants {percent(50, 110)} {percent(50, 110)}")
    lines.append(f"flutter {percent(0, 8)}")
    lines.append(f"roughness {percent(0, 4)}")
    if rng.random() < 0.25:
        lines.append(f"echo {percent(10, 160)} {percent(5, 28)}")
    if rng.random() < 0.3:
        points = sorted(rng.sample(range(200, 5000), 3))
        lines.append("tone " + " ".join(f"{hertz} {percent(40, 255)}" for hertz in points))
    if rng.random() < 0.2:
        lines.append("breath " + " ".join(str(percent(0, 4)) for _ in range(8)))
    return "\n".join(lines) + "\n"


def data_folder(variant: str) -> Path:
    """Return a folder for ``espeak-ng --path`` with links to its English voices, and drawn variants.

    Raises RuntimeError if espeak-ng names no data folder with variants.
    """
    return _data_folder(int(variant.removeprefix("drawn")) // _FOLDER if variant.startswith("drawn") else 0)


@functools.cache
def _data_folder(block: int) -> Path:
    version = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True).stdout
    own = Path(version.rpartition("Data at: ")[2].strip())
    if not (own / "voices/!v").is_dir():
        raise RuntimeError(f"espeak-ng --version names no data folder with variants: {version.strip()!r}")
    root = Path(tempfile.mkdtemp(prefix="espeak-voices-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    data = root / "espeak-ng-data"
    _link(own, data, besides=("voices", "lang"))
    (data / "lang").mkdir()
    (data / "lang/gmw").symlink_to(own / "lang/gmw")
    (data / "voices").mkdir()
    _link(own / "voices/!v", data / "voices/!v")
    for number in range(block * _FOLDER, (block + 1) * _FOLDER):
        (data / f"voices/!v/drawn{number:03d}").write_text(drawn_variant(number), encoding="utf-8")
    return root


def _link(source: Path, target: Path, besides: tuple[str, ...] = ()) -> None:
    """Make a folder ``target`` of links to everything in ``source`` except ``besides``."""
    target.mkdir()
    for path in source.iterdir():
        if path.name not in besides:
            (target / path.name).symlink_to(path)
