"""Reader of Asterisk's core sounds: a WAV file for each prompt, and one list of what they say.

sounds/en_US_f_Allison/[FOLDER/]NAME.wav
core-sounds-en.txt.gz       ; a comment
                            [FOLDER/]NAME: text [a note] (a note)
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from recipes.asterisk.families import families
from recipes.debian.clips import Clip
from recipes.entries import NO_SPLIT, LeftOut
from ssvd_asr.errors import DataError
from ssvd_asr.scoring import normalise

VOICE = "en_US_f_Allison"
SOUNDS = f"usr/share/asterisk/sounds/{VOICE}"
_LIST = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt"
TEXTS = (f"{_LIST}.gz", _LIST)
SPEAKER = "asterisk-allison"
# What stands in brackets tells about the sound, and is not said: [ascending tones], (10 seconds of silence).
_NOTE = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")


def clips(sounds: Path, texts: Path) -> Iterator[Clip | LeftOut]:
    """Yield an entry for each prompt of the list and for each sound that it does not name.

    Prompts of one family (`recipes.asterisk.families`) are in one split.

    Raises:
        DataError: the list cannot be read or holds no prompt.
    """
    said: dict[str, set[str]] = {}
    for number, line in enumerate(_lines(texts), 1):
        if not line.strip() or line.startswith(";"):
            continue
        name, colon, text = line.partition(":")
        if not colon:
            yield LeftOut(f"{texts.name}:{number}", NO_SPLIT, "line that names no prompt", line)
            continue
        said.setdefault(name.strip(), set()).add(text.strip())
    if not said:
        raise DataError(f"{texts} holds no line like NAME: text")
    texts_of = {name: sorted(versions) for name, versions in said.items()}
    groups = families(normalise(_spoken(text)) for versions in texts_of.values() for text in versions)
    for name, versions in texts_of.items():
        yield _clip(name, versions, sounds / f"{name}.wav", groups)
    for path in sorted(sounds.rglob("*.wav")):
        if (name := path.relative_to(sounds).with_suffix("").as_posix()) not in said:
            yield LeftOut(f"asterisk/{name}", NO_SPLIT, "sound without a text", str(path))


def _spoken(text: str) -> str:
    return " ".join(_NOTE.sub(" ", text).split())


def _clip(name: str, versions: list[str], sound: Path, groups: Mapping[str, str]) -> Clip | LeftOut:
    text = _spoken(versions[0])
    group = groups[normalise(text)]
    clip = Clip(f"asterisk/{name}", group, sound, text, "en", speaker=SPEAKER, names_group=False)
    if not sound.is_file():
        return LeftOut(clip.id, clip.its_split, "no sound", versions[0])
    if len(versions) > 1:
        return LeftOut(clip.id, NO_SPLIT, "prompt with two texts", str(versions))
    if not group:
        return LeftOut(clip.id, NO_SPLIT, "no words", versions[0])
    return clip


def _lines(path: Path) -> list[str]:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode("utf-8-sig").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
