"""Prompt before the transcript: language, task, whether to give times, and the previous text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

IDENTIFIED = "<auto>"  # in place of a language: the one that the base identifies
RECOGNITION = "<asr>"  # the task whose words are those that are spoken
TO_ENGLISH = "<st_eng>"  # the task of translation to English


class Times(Protocol):
    """The times of a vocabulary, see Tokens."""

    @property
    def first_time(self) -> int: ...
    @property
    def last_time(self) -> int: ...
    @property
    def time_step_s(self) -> float: ...


@dataclass(frozen=True)
class Prompt:
    """Prompt of one row. The base's tokens make its ids (`Tokens.prompt_ids`)."""

    language: str = "<eng>"  # a language of the base, or IDENTIFIED where `transcribe` puts one in its place
    task: str = RECOGNITION
    timestamps: bool = False
    previous_text: str | None = None
    audio_s: float | None = None  # of a row that gives times: see last_time
    among: tuple[str, ...] = ()  # the languages that IDENTIFIED chooses from; empty: all of the base
    keywords: tuple[str, ...] = ()  # names and terms that the search prefers, see decoding/keywords.py

    def last_time(self, tokens: Times) -> int | None:
        """The id of the last time inside the audio of `audio_s`, at least one step from the start.

        None where no times are asked for or the audio's length is not given: then the rules of the base's own
        library hold, which allow any time of the window.
        """
        if not self.timestamps or self.audio_s is None:
            return None
        steps = max(1, math.floor(self.audio_s / tokens.time_step_s))
        return min(tokens.first_time + steps, tokens.last_time)
