"""Tags in transcripts for what is heard and is no word: `<noise>`, `[laughter]`, `(cough)`.

They are dropped from the text by this rule:

- `<name>`, `</name>` and `<name attribute="...">` are tags, whatever the name; so are the symbols and times
  of OWSM and Whisper (`<eng>`, `<1.20>`, `<|en|>`, `<|1.20|>`) and the times of subtitles (`<00:00:01.200>`);
- `(())` and a tag of UNHEARD stand for speech whose words are missing;
- what stands in `[...]`, `(...)` or `{...}` is a tag if its words are of EVENTS or UNHEARD, or such as loud
  beside these; else it stays part of the text, because it may have been said;
- signs that other corpora put around events stay, and are doubts: `*cough*`, `#noise`, `%uh`, `++UM++`,
  `~SIL`, `（笑）`, an unpaired bracket, `&lt;`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EVENTS = frozenset(
    (
        *("applause", "background", "beep", "blank", "breath", "breathing", "chatter", "chuckle", "chuckles"),
        *("click", "clicks", "cough", "coughing", "coughs", "crosstalk", "crying", "exhale", "gasp", "gasps"),
        *("giggle", "giggles", "groan", "inhale", "laugh", "laughing", "laughs", "laughter", "lipsmack"),
        *("music", "noise", "noises", "nsn", "overlap", "pause", "pop", "sigh", "sighs", "sil", "silence"),
        *("smack", "sneeze", "sneezes", "sniff", "sniffs", "sound", "sounds", "speech", "spn", "static"),
        *("throat", "voices", "yawn", "yawns"),
    )
)
# Words that are part of a tag beside one of EVENTS.
_BESIDE = frozenset(
    ("clearing", "clears", "door", "lip", "loud", "mouth", "no", "phone", "playing", "vocalized")
)
UNHEARD = frozenset(
    ("unk", "unknown", "unintelligible", "inaudible", "indiscernible", "incomprehensible", "unclear", "xxx")
)
_TAG = re.compile(
    r"<(?P<angle>/?[^\W\d][^<>]{0,60}|\|[^<>|]{1,60}\||(?:\d+:)*\d+\.\d+)>"
    r"|(?P<nothing>\(\(\s*\)\))"
    r"|\[([^][]{1,60})\]|\(([^()]{1,60})\)|\{([^{}]{1,60})\}"
)
# What looks like a tag of another corpus and is not known to be one.
_SIGNS = re.compile(
    r"(?<!\S)(?:[#%~]|\*+|\+\+)[^\W\d]\S*"  # #noise, %uh, ~SIL, *cough*, ++UM++
    r"|[（【［＜《][^）】］＞》]{0,60}[）】］＞》]"  # in full-width brackets
    r"|&(?:[A-Za-z]{2,8}|#\d{1,7});|[♪♫]"
)
_BRACKETS = re.compile(r"\S*[][{}<>]\S*")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Spoken:
    """A text without its tags, and what was in them."""

    text: str
    tags: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()  # of the tags, those that stand for words
    kept: tuple[str, ...] = ()  # brackets that are no known tag and stay


def without_events(text: str) -> Spoken:
    """Return a text without its tags; a text without any stays as it is, letter by letter."""
    tags: list[str] = []
    unheard: list[str] = []
    kept: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        words = [word.lower() for word in _WORD.findall(match[0])]
        missing = not UNHEARD.isdisjoint(words) or match["nothing"] is not None
        known = EVENTS | UNHEARD
        if (
            match["angle"] is None
            and match["nothing"] is None
            and (known.isdisjoint(words) or not known | _BESIDE >= set(words))
        ):
            kept.append(match[0])
            return match[0]
        tags.append(match[0])
        if missing:
            unheard.append(match[0])
        return " "

    spoken = _TAG.sub(replaced, text)
    kept += _SIGNS.findall(spoken)
    unpaired = spoken
    for words_in_brackets in kept:
        unpaired = unpaired.replace(words_in_brackets, " ")
    kept += _BRACKETS.findall(unpaired)
    if tags:
        spoken = " ".join(spoken.split())
    return Spoken(spoken, tuple(tags), tuple(unheard), tuple(kept))
