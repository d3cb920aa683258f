"""Words of a transcript with the times at which they were heard, read from the server's verbose_json."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HeardWord:
    """Word of a transcript. The times are seconds from the start of the recording, None where unknown."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


def heard_words(body: dict[str, Any]) -> tuple[HeardWord, ...]:
    """Return every word of the reply's text, in order.

    The field `words` lists only the words that have times. A word of a segment gets the times of the next
    entry of that list if the two are equal and the entry starts within the segment.
    """
    timed = deque(body["words"])
    found = []
    for segment in body["segments"]:
        for text in segment["text"].split():
            if timed and timed[0]["word"] == text and timed[0]["start"] <= segment["end"]:
                entry = timed.popleft()
                found.append(HeardWord(text, float(entry["start"]), float(entry["end"])))
            else:
                found.append(HeardWord(text))
    texts = body["text"].split()
    return tuple(found) if [word.text for word in found] == texts else tuple(map(HeardWord, texts))
