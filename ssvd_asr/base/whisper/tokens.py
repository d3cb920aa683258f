"""Map of text to Whisper's token ids and back, by the checkpoint's own tokenizer.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ssvd_asr.base.prompt import RECOGNITION, TO_ENGLISH, Prompt
from ssvd_asr.base.whisper.languages import ISO_639_3
from ssvd_asr.errors import BaseModelError, SsvdError
from ssvd_asr.languages import supported_language
from ssvd_asr.writing import is_unspaced

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TIME_STEP_S = 0.02
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_LOST = "\ufffd"  # stands for bytes that are no whole character


class WhisperTokens:
    """Whisper's vocabulary: byte-level BPE pieces, then controls, then times. See Tokens.

    Every id from <|endoftext|> on is a symbol that is not part of the transcript.
    """

    blank: int | None = None
    unk: int | None = None  # bytes have tokens, so every text has
    no_previous: int | None = None
    time_step_s = TIME_STEP_S

    def __init__(
        self, tokenizer: bytes, vocabulary: int, window_s: float, *, multilingual: bool, most_previous: int
    ) -> None:
        """Read the tokenizer.

        Args:
            tokenizer: content of tokenizer.json.
            vocabulary: number of the model's tokens, times included.
            most_previous: how many tokens of a previous text are told; the last ones are kept.

        Raises:
            BaseModelError: the file is no tokenizer, or lacks one of Whisper's controls.
        """
        self._read = _tokenizer(tokenizer)
        self.vocabulary = vocabulary
        self.multilingual = multilingual
        self._most_previous = most_previous
        self.sos, self.eos = self._id("<|startoftranscript|>"), self._id("<|endoftext|>")
        self.sop, self.notime = self._id("<|startofprev|>"), self._id("<|notimestamps|>")
        self.no_speech = self._id("<|nospeech|>", "<|nocaptions|>")
        self._tasks = {RECOGNITION: self._id("<|transcribe|>"), TO_ENGLISH: self._id("<|translate|>")}
        self.first_time = self.notime + 1
        self.last_time = self.first_time + round(window_s / TIME_STEP_S)
        if self.last_time >= vocabulary:
            raise BaseModelError(
                f"the vocabulary of {vocabulary} tokens does not hold the times up to {window_s:g} s"
            )

    def __len__(self) -> int:
        return self.vocabulary

    @cached_property
    def languages(self) -> Mapping[str, int]:
        """See Tokens. A base that knows English only has no token to say; its one entry is not in prompts."""
        if not self.multilingual:
            return {"<eng>": self.eos}
        known = self._read.get_vocab(with_added_tokens=True)
        codes = {found[1]: index for token, index in known.items() if (found := _LANGUAGE.fullmatch(token))}
        lacking = sorted(codes.keys() - ISO_639_3.keys())
        if lacking:
            raise BaseModelError(f"the tokenizer has languages of unknown codes: {', '.join(lacking)}")
        by_index = sorted(codes.items(), key=lambda item: item[1])
        return {f"<{ISO_639_3[code]}>": index for code, index in by_index if index < self.vocabulary}

    @property
    def tasks(self) -> tuple[str, ...]:
        """See Tokens."""
        return tuple(self._tasks) if self.multilingual else (RECOGNITION,)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, never of a control that it spells. A space goes before a first word."""
        bare = text.strip()
        if not bare:
            return []
        spaced = bare if is_unspaced(bare[0]) else f" {bare}"
        parts = re.split(r"(?<=<)(?=\|)", spaced)  # "<|" begins every control
        return [index for part in parts for index in self._read.encode(part, add_special_tokens=False).ids]

    def decode(self, ids: Sequence[int]) -> str:
        """See Tokens."""
        return self._text([index for index in ids if index < self.eos]).strip()

    def token_bytes(self, index: int) -> bytes:
        """See Tokens. A piece is written with one letter for each byte."""
        if index >= self.eos:
            return b""
        return bytes(self._bytes[letter] for letter in self._read.id_to_token(index) or "")

    @cached_property
    def _bytes(self) -> Mapping[str, int]:
        """The byte of each letter of byte-level BPE, as GPT-2 maps them.

        A byte is the letter of its number where that is in the alphabet. The others have, in their order, the
        letters from 256 on.
        """
        from tokenizers.pre_tokenizers import ByteLevel

        alphabet = set(ByteLevel.alphabet())
        others = (byte for byte in range(256) if chr(byte) not in alphabet)
        own = {letter: ord(letter) for letter in alphabet if ord(letter) < 256}
        return own | {chr(256 + place): byte for place, byte in enumerate(others)}

    def words(self, ids: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        """See Tokens. A word begins at a space, or is one character where no spaces are written."""
        words: list[tuple[str, tuple[int, ...]]] = []
        unspaced = False
        for text, pieces in self._units([index for index in ids if index < self.eos]):
            alone = is_unspaced(text.strip()[:1])
            begins = text[:1].isspace() or alone or (unspaced and text.isalnum())
            joins = bool(words) and (
                not begins or not words[-1][0].strip()
            )  # a space may be a piece of its own
            unspaced = alone
            if joins:
                words[-1] = (words[-1][0] + text, words[-1][1] + pieces)
            else:
                words.append((text, pieces))
        return [(text.strip(), pieces) for text, pieces in words if text.strip()]

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Return [<|startofprev|> previous text] <|startoftranscript|> [language task] [<|notimestamps|>].

        Raises:
            SsvdError: the model has no such language or task.
        """
        supported_language(prompt.language, self.languages, "the base model")
        if prompt.task not in self.tasks:
            raise SsvdError(f"the base model has no task {prompt.task!r}, only {', '.join(self.tasks)}")
        ids = [self.sos]
        if self.multilingual:
            ids += [self.languages[prompt.language], self._tasks[prompt.task]]
        if not prompt.timestamps:
            ids.append(self.notime)
        previous = self.encode(prompt.previous_text or "")
        return [self.sop, *previous[-self._most_previous :], *ids] if previous else ids

    def said(self, prefix: Sequence[int]) -> tuple[bool, Sequence[int]]:
        """Return whether a prompt asks for times, and the tokens after it, of a prompt and what follows."""
        begin = prefix.index(self.sos) + (3 if self.multilingual else 1)
        untimed = begin < len(prefix) and prefix[begin] == self.notime
        return not untimed, prefix[begin + untimed :]

    def is_time(self, index: int) -> bool:
        """See Tokens."""
        return self.first_time <= index <= self.last_time

    def time_s(self, index: int) -> float:
        """See Tokens."""
        if not self.is_time(index):
            raise SsvdError(f"token {index} is not a time")
        return round((index - self.first_time) * TIME_STEP_S, 6)

    @cached_property
    def content(self) -> Any:
        """What the digest covers of the tokenizer: its pieces with their ids, and their merges."""
        model = json.loads(self._read.to_str())["model"]
        return [sorted(model["vocab"].items()), model["merges"]]

    def _units(self, ids: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        """Group ids into stretches that are whole characters."""
        units = []
        waiting: list[int] = []
        for index in ids:
            waiting.append(index)
            text = self._text(waiting)
            if _LOST not in text:
                units.append((text, tuple(waiting)))
                waiting = []
        return [*units, (self._text(waiting), tuple(waiting))] if waiting else units

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self._read.decode(list(ids), skip_special_tokens=False)
        return text

    def _id(self, *names: str) -> int:
        found = [index for name in names if (index := self._read.token_to_id(name)) is not None]
        if not found:
            raise BaseModelError(f"tokenizer.json has no {' or '.join(names)}; is it Whisper's?")
        return int(found[0])


def _tokenizer(content: bytes) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises no narrower class
        raise BaseModelError(f"tokenizer.json cannot be read: {error}") from error
