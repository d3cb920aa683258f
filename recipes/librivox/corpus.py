"""Reader of the LibriVox sentences of pocketsphinx's test data.

transcription       <s> the words </s> (NAME)
NAME.wav            16 kHz, mono
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from recipes.debian.clips import Clip
from recipes.entries import LeftOut
from ssvd_asr.errors import DataError

PLACE = "usr/share/pocketsphinx/test/data/librivox"
SPLIT = "test"
# What the transcription has and nobody says: the book and the recording have "a more amiable woman".
CORRECTED = {"a more a amiable woman": "a more amiable woman"}
_LINE = re.compile(r"(?:<s>)?(?P<text>.*?)(?:</s>)?\s*\((?P<name>[^()\s]+)\)")


def clips(folder: Path) -> Iterator[Clip | LeftOut]:
    """Yield an entry for each line of the transcription and for each sound that it does not name.

    Raises:
        DataError: the transcription cannot be read.
    """
    path = folder / "transcription"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    named = set()
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            if line.strip():
                yield LeftOut(f"{path.name}:{number}", SPLIT, "line that names no recording", line)
            continue
        name, sound = match["name"], folder / f"{match['name']}.wav"
        named.add(sound)
        if sound.is_file():
            # A name is CHAPTER-SENTENCE; one voice reads a chapter.
            chapter = name.rpartition("-")[0] or name
            yield Clip(
                f"librivox/{name}", chapter, sound, _corrected(match["text"]), "en", chapter, split=SPLIT
            )
        else:
            yield LeftOut(f"librivox/{name}", SPLIT, "no sound", match["text"])
    for sound in sorted(set(folder.glob("*.wav")) - named):
        yield LeftOut(f"librivox/{sound.stem}", SPLIT, "sound without a text", str(sound))


def _corrected(text: str) -> str:
    for wrong, right in CORRECTED.items():
        text = text.replace(wrong, right)
    return text
