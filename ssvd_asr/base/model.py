"""Interface of a base model, whatever family it is of. The families implement it in folders of their own.

Everything above this room uses a base through these protocols and names no family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import Clock, FloatArray, Listening, Window

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ssvd_asr.base.learner import Learner
    from ssvd_asr.base.probe import Probe


class Tokens(Protocol):
    """Vocabulary of a base: text to token ids and back, prompts and times.

    Times are consecutive ids from `first_time` (0 s) to `last_time`, `time_step_s` apart.
    """

    @property
    def sos(self) -> int:
        """The token that begins a prompt; the base says the language after it."""
        ...

    @property
    def eos(self) -> int:
        """The token that ends a transcript."""
        ...

    @property
    def blank(self) -> int | None:
        """The token that means nothing, CTC's blank; None if there is none."""
        ...

    @property
    def unk(self) -> int | None:
        """The token of text outside the vocabulary; None if every text has tokens."""
        ...

    @property
    def no_previous(self) -> int | None:
        """The token that training data hold in place of a previous text; None if there is none."""
        ...

    @property
    def notime(self) -> int:
        """The token that ends a prompt which asks for no times."""
        ...

    @property
    def first_time(self) -> int: ...

    @property
    def last_time(self) -> int: ...

    @property
    def time_step_s(self) -> float: ...

    @property
    def languages(self) -> Mapping[str, int]:
        """The token of each language, by its symbol: "<eng>", with the code of ISO 639-3."""
        ...

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks by their symbols: "<asr>", and "<st_eng>" for translation to English."""
        ...

    def __len__(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without times and other symbols."""
        ...

    def words(self, ids: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
        """Group ids into (word, its pieces). Symbols belong to no word."""
        ...

    def token_bytes(self, index: int) -> bytes:
        """Return the UTF-8 bytes that a token adds to a text, with its space; none for symbols.

        A token may be a part of a character.
        """
        ...

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Return a prompt's ids. Raises SsvdError for a language or task that the base lacks."""
        ...

    def is_time(self, index: int) -> bool:
        """Return whether the id is a time."""
        ...

    def time_s(self, index: int) -> float:
        """Return a time in seconds from the start of the window. Raises SsvdError for another id."""
        ...


class Decoder(Protocol):
    """Decoder of rows in lock step: each reads its own prompt, then all advance token by token."""

    def read(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Begin the R rows with their prompts, of any lengths. Return log-probabilities as `advance` does."""
        ...

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens (R, L) to the R rows and return log-probabilities (R, V), float32, of the next one.

        Side effect: the rows are L tokens longer.
        """
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these rows (R',) of the current ones, in this order.

        A row may occur several times, as several hypotheses of one utterance. Side effect: data of the
        rows that are left out may be overwritten.
        """
        ...


class BaseModel(Protocol):
    """Frozen speech model in evaluation mode. `ssvd_asr.base.load` makes it.

    Attributes:
        family: the kind of model, for people; nothing is decided by it.
        name: the name that it was loaded by, for people; `digest` identifies it.
        digest: "sha256:..." of all that it computes with, fixed at loading.
        network: the model itself; adapting it in place changes neither its weights nor the digest.
        device, dtype: device of the network, and dtype of its encoder and decoder.
        linears: the ends of the names of the linears to adapt.
        embedding: name of the decoder's token embedding; None if it is tied to the output layer.
        knows_previous_text: whether it was trained with previous texts.
        length_penalty: exponent of the length by which a beam search divides scores; None: it compares sums.
        searches: names of the searches that find words (decoding/options.py), its default first.
    """

    family: str
    name: str
    digest: str
    network: Any
    device: torch.device
    dtype: torch.dtype
    linears: tuple[str, ...]
    embedding: str | None
    knows_previous_text: bool
    length_penalty: float | None
    searches: tuple[str, ...]

    @property
    def window(self) -> Window: ...

    @property
    def tokens(self) -> Tokens: ...

    @property
    def ctc_head(self) -> nn.Linear | None:
        """The layer that scores tokens and the blank for each encoder frame; None if there is none."""
        ...

    @property
    def probe(self) -> Probe:
        """The fixed input of the adapters' canaries."""
        ...

    @property
    def learner(self) -> Learner:
        """The network as training sees it."""
        ...

    def encode(self, waves: Sequence[FloatArray], prompts: Sequence[Prompt] | None = None) -> Tensor:
        """Return encoder output (B, T, d) in `dtype` for B waves (samples,), float32 at the window's rate.

        Args:
            prompts: of the rows, for a base whose encoder reads them; None: recognition in any language.

        Raises AudioTooLongError and AudioError, as `Window.fill` does, and SsvdError for a language or task
        that such a base lacks.
        """
        ...

    @property
    def voice_probe(self) -> str:
        """How `voice_points` are made, for those who compare points: the family, its layer and its width."""
        ...

    def voice_points(self, waves: Sequence[FloatArray]) -> Tensor:
        """Return a point for each of B waves (samples,): (B, r) float32 on the host, see base/voice.py.

        A wave's point does not depend on the others. Call it where no domain is open: points are the base's.
        """
        ...

    def open_decoder(self, encoded: Tensor, *, width: int = 1) -> AbstractContextManager[Decoder]:
        """Return a decoder for encoder output (U, T, d). Rows that leave take along their domains.

        Args:
            width: the most rows that an utterance may have, the beam's size.
        """
        ...

    def forbid(
        self, scores: Tensor, prefixes: Sequence[Sequence[int]], last_times: Sequence[int | None]
    ) -> None:
        """Set the scores (R, V) of tokens that may not follow to -inf, in place.

        Args:
            prefixes: each row's whole prompt and all tokens since.
            last_times: the last time that each row may give, see `Prompt.last_time`.
        """
        ...

    def most_tokens(self, prompt: Sequence[int], frames: int) -> int:
        """Return the limit on the tokens after a prompt, for encoder output of so many frames."""
        ...

    def clock(self, frames: int) -> Clock:
        """Return the clock of encoder output with `frames` frames per window."""
        ...

    def listen(
        self, encoded: Tensor, prompts: Sequence[Sequence[int]], said: Sequence[Sequence[int]]
    ) -> list[Listening] | None:
        """Return what the decoder attends to while it says these tokens after these prompts, a row each.

        None where words are aligned by the CTC head. Call it where the rows' domains are open.
        """
        ...

    def no_speech(self, encoded: Tensor) -> list[float] | None:
        """Return the probability that there is no speech, of each row; None if the base cannot tell.

        Call it where the rows' domains are open.
        """
        ...

    def with_network(self, name: str, network: Any) -> BaseModel:
        """Return a base of this kind with another network in float32, and a digest of its own."""
        ...

    def empty_network(self) -> Any:
        """Return a network of this shape with fresh weights, as training needs it after sharding."""
        ...

    def export(self, folder: Path) -> tuple[Path, Path]:
        """Write the base in its family's own form; return the paths of its config and its weights.

        Raises BaseModelError if the network has changed since loading (adapted, trained, cast).
        """
        ...
