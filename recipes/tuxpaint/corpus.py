"""Reader of Tux Paint's stamps: descriptions of pictures, written and spoken in many languages.

FOLDER/NAME.txt             first line English, then lines such as ro.utf8=O broasca.
FOLDER/NAME_desc_LL.ogg     the line of that language, spoken; NAME_desc.ogg is English
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from recipes.debian.clips import Clip
from recipes.entries import NO_SPLIT, LeftOut
from ssvd_asr.errors import DataError
from ssvd_asr.scoring import normalise

PLACES = ("usr/share/tuxpaint/stamps", "tuxpaint/stamps", "stamps")
ENGLISH = "en"
# One file of the package has its ending twice.
_SOUND = re.compile(r"(?P<stamp>.+)_desc(?:_(?P<language>[A-Za-z]+(?:_[A-Z]+)?))?(?:(?:\.ogg)+|\.wav)")
_LINE = re.compile(r"(?P<language>[\w@]+)\.utf8=(?P<text>.*)", re.ASCII)


def clips(stamps: Path, language: str) -> Iterator[Clip | LeftOut]:
    """Yield an entry for each spoken description of a language.

    The English description is the group: its stamps are in the same split in every language.

    Raises:
        DataError: the folder has no sound of the language; the message names the languages that it has.
    """
    sounds: dict[str, list[tuple[Path, str]]] = {}
    for path in sorted(stamps.rglob("*_desc*")):
        if match := _SOUND.fullmatch(path.name):
            sounds.setdefault(match["language"] or ENGLISH, []).append((path, match["stamp"]))
    if language not in sounds:
        found = ", ".join(sorted(sounds)) or "none"
        raise DataError(f"{stamps} has no description spoken in {language!r}; languages found: {found}")
    for path, stamp in sounds[language]:
        place = path.parent.relative_to(stamps) / stamp
        yield _clip(f"tuxpaint-{language}/{place.as_posix()}", path, path.with_name(f"{stamp}.txt"), language)


def _clip(identity: str, sound: Path, description: Path, language: str) -> Clip | LeftOut:
    def left_out(reason: str, detail: object) -> LeftOut:
        return LeftOut(identity, NO_SPLIT, reason, str(detail))

    if not description.is_file():
        return left_out("no description file", description)
    try:
        texts = texts_of(description.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        return left_out("unreadable description", error)
    english, spoken = texts.get(ENGLISH, set()), texts.get(language, set())
    if not spoken:
        return left_out("no description in this language", description)
    if len(spoken) > 1:
        return left_out("two descriptions in this language", sorted(spoken))
    (text,) = spoken
    translation = next(iter(english)) if len(english) == 1 else None
    return Clip(
        identity,
        normalise(translation or text),
        sound,
        text,
        language.partition("_")[0],
        translation=translation if language != ENGLISH else None,
        names_group=False,
    )


def texts_of(description: str) -> dict[str, set[str]]:
    """Return the texts of a description file by language; a line that names none is not read."""
    first, _, rest = description.partition("\n")
    texts = {ENGLISH: {first.strip()}} if first.strip() else {}
    for line in rest.splitlines():
        if (match := _LINE.fullmatch(line.strip())) and match["text"].strip():
            texts.setdefault(match["language"], set()).add(match["text"].strip())
    return texts
