"""Map of text to token ids and back, with the checkpoint's own BPE model and token list."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ssvd_asr.base.owsm.config import ModelConfig
from ssvd_asr.base.prompt import RECOGNITION, Prompt
from ssvd_asr.errors import BaseModelError, SsvdError
from ssvd_asr.languages import supported_language

_LANGUAGE = re.compile("<[a-z]{3}>")  # ISO 639-3
_TRANSLATION = re.compile("<st_[a-z]{3}>")
WORD_MARK = "\u2581"  # sentencepiece's sign for a space


class TokenMap:
    """OWSM's vocabulary: BPE pieces, and symbols in angle brackets for everything that is not speech.

    The attributes blank, unk, sos, eos, sop (start of previous text), na (text not available), notime,
    first_time and last_time are ids. Times are consecutive ids, `time_step_s` apart, from 0 s on.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Read the BPE model.

        Raises:
            BaseModelError: the config names no BPE model, or the file is not one.
            SsvdError: the token list lacks a symbol.
        """
        if config.raw.get("token_type", "bpe") != "bpe" or config.bpe_model is None:
            raise BaseModelError(
                f"base config has token_type: {config.raw.get('token_type')!r} and bpemodel: "
                f"{config.raw.get('bpemodel')!r}; only bpe with a sentencepiece model is supported"
            )
        self.bpe_bytes = config.bpe_model.read_bytes()
        self._pieces = bpe_processor(self.bpe_bytes, config.bpe_model)
        self.token_list: tuple[str, ...] = config.token_list
        self._ids = {token: index for index, token in enumerate(config.token_list)}
        self.time_step_s = config.time_step_s
        self.blank, self.unk, self.sos = self.id("<blank>"), self.id("<unk>"), self.id("<sos>")
        self.eos, self.sop, self.na = self.id("<eos>"), self.id("<sop>"), self.id(config.na_symbol)
        self.notime = self.id(config.notime_symbol)
        self.first_time, self.last_time = self.id(config.first_time_symbol), self.id(config.last_time_symbol)

    @property
    def no_previous(self) -> int:
        """See Tokens: training data write "<na>" where there is no previous text."""
        return self.na

    @cached_property
    def languages(self) -> dict[str, int]:
        """See Tokens."""
        controls = {self.token_list[i] for i in (self.unk, self.sos, self.eos, self.sop, self.na)}
        not_languages = {*controls, RECOGNITION}  # a task that looks like a language
        known = [each for each in self.symbols() if _LANGUAGE.fullmatch(each)]
        return {each: self.id(each) for each in known if each not in not_languages}

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """See Tokens."""
        known = [each for each in self.symbols() if each == RECOGNITION or _TRANSLATION.fullmatch(each)]
        return tuple(known)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Return [<sop> previous text] <sos> <language> <task> [<notimestamps>], as Speech2Text builds it.

        Raises:
            SsvdError: the model has no such language or task.
        """
        if prompt.language not in self._ids:
            supported_language(prompt.language, self.languages, "the base model")
        ids = [self.sos, self.id(prompt.language), self.id(prompt.task)]
        if not prompt.timestamps:
            ids.append(self.notime)
        if prompt.previous_text is None:
            return ids
        previous = self.encode(prompt.previous_text)
        # Training data writes "<na>" if there is no previous text.
        return ids if self.na in previous else [self.sop, *previous, *ids]

    def words(self, ids: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        """See Tokens. A word begins with sentencepiece's mark for the space before it."""
        groups: list[list[int]] = []
        for index in ids:
            if self.is_symbol(index):
                continue
            if self.begins_word(index) or not groups:
                groups.append([])
            groups[-1].append(index)
        # Sentencepiece may put a lone word mark before a piece that begins a word itself; it is dropped here.
        words = [(self.decode(group).strip(), tuple(group)) for group in groups]
        return [(word, group) for word, group in words if word]

    def __len__(self) -> int:
        return len(self.token_list)

    def id(self, symbol: str) -> int:
        """Return the id of one token, such as "<eng>".

        Raises:
            SsvdError: the model has no such token.
        """
        try:
            return self._ids[symbol]
        except KeyError:
            raise SsvdError(f"the base model has no token {symbol!r}") from None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text. A piece that the token list lacks becomes <unk>, as in ESPnet."""
        return [self._ids.get(piece, self.unk) for piece in self._pieces.EncodeAsPieces(text)]

    def decode(self, ids: Iterable[int], *, keep_symbols: bool = False) -> str:
        """Return the text of ids, without symbols in angle brackets unless `keep_symbols`."""
        tokens = [self.token_list[index] for index in ids]
        if not keep_symbols:
            tokens = [token for token in tokens if not _is_symbol(token)]
        return str(self._pieces.DecodePieces(tokens))

    def token_bytes(self, index: int) -> bytes:
        """See Tokens."""
        return b"" if self.is_symbol(index) else self.token_list[index].replace(WORD_MARK, " ").encode()

    def is_symbol(self, index: int) -> bool:
        """Whether the id is a symbol in angle brackets, which is not part of the transcript."""
        return _is_symbol(self.token_list[index])

    def begins_word(self, index: int) -> bool:
        """Whether the id is a piece that begins a word, by sentencepiece's mark for the space before it."""
        return self.token_list[index].startswith(WORD_MARK)

    def is_time(self, index: int) -> bool:
        """Return whether the id is a time symbol."""
        return self.first_time <= index <= self.last_time

    def time_s(self, index: int) -> float:
        """Return the time of a time symbol, in seconds from the start of the window.

        Raises:
            SsvdError: the id is not a time symbol.
        """
        if not self.is_time(index):
            raise SsvdError(f"token {self.token_list[index]!r} is not a time")
        return round((index - self.first_time) * self.time_step_s, 6)

    def time_id(self, time_s: float) -> int:
        """Return the id of the time symbol nearest to `time_s`.

        Raises:
            SsvdError: the time is outside the window.
        """
        index = self.first_time + round(time_s / self.time_step_s)
        if not self.is_time(index):
            raise SsvdError(f"{time_s} s is outside the window of 0..{self.time_s(self.last_time)} s")
        return index

    def symbols(self) -> Sequence[str]:
        """Return every token in angle brackets that is not a time: languages, tasks and controls."""
        return [t for i, t in enumerate(self.token_list) if _is_symbol(t) and not self.is_time(i)]


def bpe_processor(model: bytes, source: Path) -> Any:
    """Return a SentencePieceProcessor of a serialised model. `source` is named in the BaseModelError."""
    with warnings.catch_warnings():
        # As an error, this warning leaves a half-imported module that crashes the process when used.
        warnings.filterwarnings("ignore", "builtin type .* has no __module__", DeprecationWarning)
        import sentencepiece
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise BaseModelError(f"{source} is not a sentencepiece model: {error}") from error
    return processor


def _is_symbol(token: str) -> bool:
    """Return whether ESPnet leaves the token out of the transcript."""
    return token[0] == "<" and token[-1] == ">"
