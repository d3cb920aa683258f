"""What stands before the transcript: [<sop> previous text] <sos> <language> <task> [<notimestamps>]."""

from __future__ import annotations

from dataclasses import dataclass

from ssvd_asr.base.tokens import TokenMap


@dataclass(frozen=True)
class Prompt:
    """What the decoder of one row is told: language, task, whether to give times, what was said before."""

    language: str = "<eng>"
    task: str = "<asr>"
    timestamps: bool = False
    previous_text: str | None = None

    def ids(self, tokens: TokenMap) -> list[int]:
        """The prompt's token ids, as Speech2Text builds them.

        Raises:
            SsvdError: the model has no such language or task.
        """
        ids = [tokens.sos, tokens.id(self.language), tokens.id(self.task)]
        if not self.timestamps:
            ids.append(tokens.notime)
        if self.previous_text is None:
            return ids
        previous = tokens.encode(self.previous_text)
        # "<na>" is how training data says that there is no previous text.
        return ids if tokens.na in previous else [tokens.sop, *previous, *ids]
