"""Reader of the dialogues of Fish Fillets, as the packages fillets-ng-data-* lay them out.

    script/LEVEL/[PART_]dialogs_LL.lua      dialogId("name", "font", "English")  dialogStr("text")
    sound/LEVEL/LL/name.ogg

Dialogues of no level lie in script/share/, and their sounds in sound/share/PLACE/ (`SHARED`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipes.debian.clips import Clip, split_of
from recipes.entries import LeftOut
from recipes.fillets.lua import Call, NotACall, read_calls
from ssvd_asr.errors import DataError

LANGUAGES = ("nl", "cs")  # of the packages with sounds
PLACES = ("usr/share/games/fillets-ng/script", "usr/share/fillets-ng/script", "script")
# Where the sounds of script/share/PREFIXdialogs_LL.lua lie, as script/share/*.lua tell dialogLoad.
SHARED = {
    "black_": "share/blackjokes",
    "bore_": "share/borejokes",
    "border_": "share/border",
    "shout_": "share/border",
    "intro_": "share/intro",
}
SHARED_FOLDER = "share"


@dataclass(frozen=True)
class Dialogue:
    """One dialogue of a script."""

    level: str  # its sounds lie in sound/LEVEL/
    name: str
    font: str  # the character, such as font_small
    english: str
    text: str | None  # None: not translated


@dataclass(frozen=True)
class FilletsReader:
    """Reader of one language by the module's rules."""

    folder: Path  # holds script/ and sound/
    language: str

    def clips(self) -> Iterator[Clip | LeftOut]:
        """Yield an entry for each dialogue and for each sound that no dialogue names.

        Raises:
            DataError: there are no dialogues or no sounds of the language.
        """
        by_sound: dict[Path, list[Dialogue]] = defaultdict(list)
        for found in self._dialogues():
            if isinstance(found, LeftOut):
                yield found
            else:
                by_sound[self._sound(found)].append(found)
        sounds = set(self.folder.glob(f"sound/**/{self.language}/*.ogg"))
        if not by_sound or not sounds:
            kind = "sound/*/{0}/*.ogg" if by_sound else "script/*/dialogs_{0}.lua"
            raise DataError(
                f"{self.folder} has no {kind.format(self.language)}: "
                f"the texts are in fillets-ng-data, the sounds in fillets-ng-data-{self.language}"
            )
        for sound, dialogues in by_sound.items():
            yield self._clip(sound, dialogues, sound in sounds)
        for sound in sorted(sounds - by_sound.keys()):
            level = sound.parent.parent.relative_to(self.folder / "sound").as_posix()
            yield self._left_out(level, sound.stem, "sound without a dialogue", sound)

    def _clip(self, sound: Path, dialogues: list[Dialogue], exists: bool) -> Clip | LeftOut:
        dialogue = dialogues[0]
        level, name = dialogue.level, dialogue.name
        texts = list(dict.fromkeys(one.text for one in dialogues))
        if not exists:
            return self._left_out(level, name, "no sound", dialogue.text)
        if len(texts) > 1:
            return self._left_out(level, name, "dialogue with two texts", texts)
        if dialogue.text is None:
            return self._left_out(level, name, "not translated", dialogue.english)
        character = dialogue.font.removeprefix("font_")
        return Clip(
            self._id(level, name),
            level,
            sound,
            dialogue.text,
            self.language,
            speaker=f"fillets-{self.language}-{character}" if character else None,
            translation=dialogue.english,
        )

    def _dialogues(self) -> Iterator[Dialogue | LeftOut]:
        ending = f"dialogs_{self.language}.lua"
        for path in sorted(self.folder.glob(f"script/*/*{ending}")):
            level = path.parent.name
            if level == SHARED_FOLDER:
                level = SHARED.get(path.name.removesuffix(ending), "")
                if not level:
                    yield self._left_out(SHARED_FOLDER, path.stem, "script of an unknown place", path)
                    continue
            try:
                script = path.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                yield self._left_out(level, path.stem, "unreadable script", error)
                continue
            for found in dialogues_of(script, level):
                if isinstance(found, Dialogue):
                    yield found
                else:
                    name = f"{path.stem}:{found.line}"
                    yield self._left_out(level, name, "no dialogue to us", found.found)

    def _sound(self, dialogue: Dialogue) -> Path:
        return self.folder / "sound" / dialogue.level / self.language / f"{dialogue.name}.ogg"

    def _id(self, level: str, name: str) -> str:
        return f"fillets-{self.language}/{level}/{name}"

    def _left_out(self, level: str, name: str, reason: str, detail: object) -> LeftOut:
        return LeftOut(self._id(level, name), split_of(level), reason, str(detail))


def dialogues_of(script: str, level: str) -> Iterator[Dialogue | NotACall]:
    """Yield each `dialogId` of a script with the `dialogStr` after it, and what is neither."""
    begun: Dialogue | None = None
    for call in read_calls(script):
        if isinstance(call, Call) and call.function == "dialogId" and len(call.arguments) == 3:
            if begun is not None:
                yield begun
            name, font, english = call.arguments
            begun = Dialogue(level, name, font, english, None)
        elif _is_text(call) and begun is not None:
            assert isinstance(call, Call)
            yield Dialogue(level, begun.name, begun.font, begun.english, call.arguments[0])
            begun = None
        elif isinstance(call, Call):
            yield NotACall(call.line, f"{call.function}{call.arguments!r}")
        else:
            yield call
            begun = None
    if begun is not None:
        yield begun


def _is_text(call: Call | NotACall) -> bool:
    return isinstance(call, Call) and call.function == "dialogStr" and len(call.arguments) == 1
