"""Prompt before the transcript: [<sop> previous text] <sos> <language> <task> [<notimestamps>]."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ssvd_asr.base.tokens import TokenMap

IDENTIFIED = "<auto>"  # in place of a language: the one that the base identifies


@dataclass(frozen=True)
class Prompt:
    """Prompt of one row: language, task, whether to give times, and the previous text."""

    language: str = "<eng>"  # a token of the base, or IDENTIFIED where `transcribe` puts one in its place
    task: str = "<asr>"
    timestamps: bool = False
    previous_text: str | None = None
    audio_s: float | None = None  # of a row that gives times: see last_time

    def ids(self, tokens: TokenMap) -> list[int]:
        """Return the prompt's token ids, as Speech2Text builds them.

        Raises:
            SsvdError: the model has no such language or task.
        """
        ids = [tokens.sos, tokens.id(self.language), tokens.id(self.task)]
        if not self.timestamps:
            ids.append(tokens.notime)
        if self.previous_text is None:
            return ids
        previous = tokens.encode(self.previous_text)
        # Training data writes "<na>" if there is no previous text.
        return ids if tokens.na in previous else [tokens.sop, *previous, *ids]

    def last_time(self, tokens: TokenMap) -> int | None:
        """The id of the last time inside the audio of `audio_s`, at least one step from the start.

        None where no times are asked for or the audio's length is not given: then ESPnet's rules hold, which
        allow any time of the window.
        """
        if not self.timestamps or self.audio_s is None:
            return None
        steps = max(1, math.floor(self.audio_s / tokens.time_step_s))
        return min(tokens.first_time + steps, tokens.last_time)
