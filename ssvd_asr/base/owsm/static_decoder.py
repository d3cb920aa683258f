"""Decoder whose steps use fixed memory, so that a GPU replays each step as one recorded graph.

`OwsmDecoder` is the reference and computes only the rows that are left. Here batches are rounded up to a
few sizes, and rows that ended stay until half of the places suffice. They cost a GPU little, while launching
a step's kernels one by one takes the host ten times as long as the device needs for them.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssvd_asr.base.cached_decoder import output
from ssvd_asr.base.owsm.decoder import OwsmDecoder, check_build, keys_values, split, through_layer
from ssvd_asr.base.owsm.static_cache import grown, longer, move_rows
from ssvd_asr.base.owsm.static_steps import StaticSteps
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.mixing.mixture import MixedLayer, Mixture
from ssvd_asr.mixing.static_cores import Arrangement, CoresKey, arrange

if TYPE_CHECKING:
    from espnet2.asr.decoder.transformer_decoder import TransformerDecoder
    from espnet2.legacy.nets.pytorch_backend.transformer.attention import MultiHeadedAttention

FIRST_CAPACITY = 64  # positions; doubled when they are full
SHORT_PROMPT = 8  # tokens; a longer prompt is read in one pass that is not recorded


def open_decoder(
    decoder: TransformerDecoder, encoded: Tensor, *, width: int = 1, static: bool | None = None
) -> OwsmDecoder | StaticDecoder:
    """Return a decoder for encoder output (U, T, d): a `StaticDecoder` on a GPU if the model allows it.

    Args:
        width: the most rows that an utterance may have, the beam's size.
        static: whether to prefer a `StaticDecoder`; by default on CUDA devices. The decoder is a
            `OwsmDecoder` anyway if the layers cannot follow a recorded step or another thread uses one.

    Raises:
        BaseModelError: the decoder is not built like OWSM's.
    """
    if static is None:
        static = encoded.device.type == "cuda"
    if static and _can_be_static(decoder):
        steps = _STEPS.get(decoder)
        if steps is None:
            check_build(decoder)
            steps = _STEPS[decoder] = StaticSteps(decoder, encoded.device)
        if steps.lock.acquire(blocking=False):
            try:
                return StaticDecoder(decoder, encoded, width, steps)
            except BaseException:
                steps.release()
                raise
    return OwsmDecoder(decoder, encoded)


class StaticDecoder:
    """`Decoder` over ESPnet's TransformerDecoder and one encoder output; see `OwsmDecoder`.

    Each utterance has `width` cells, one for each row that it may have. The output of a cell without a row
    is not read. `open_decoder` makes it.
    """

    def __init__(self, decoder: TransformerDecoder, encoded: Tensor, width: int, steps: StaticSteps) -> None:
        """Project keys and values of the encoder output (U, T, d), once for all steps."""
        self._decoder, self._steps, self._width = decoder, steps, width
        self._device = encoded.device
        self._like = decoder.embed[0].weight
        self._count = 0  # positions so far, padding included
        self._capacity = FIRST_CAPACITY
        mixture, self._layers = _mixture(decoder)
        self._stack = None if mixture is None else mixture.stack
        # Without a mixture all utterances are of one domain, the base.
        self._slots = (0,) * len(encoded) if mixture is None else mixture.slots  # of the utterances left
        self._arranged = arrange(self._slots)
        self._cores: CoresKey | None = None
        self._filled: tuple[int, ...] | None = None  # the slots of `_cores`
        self._cells = [place * width for place in self._arranged.places]  # of each row
        heard = steps.cache.heard(self._arranged.room, encoded.size(1), encoded)
        places = torch.tensor(self._arranged.places, device=self._device)
        for index, layer in enumerate(decoder.decoders):
            for part, projected in zip(heard[index], keys_values(layer.src_attn, encoded), strict=True):
                part.index_copy_(0, places, projected)
        self._lay_out()
        self._inputs.padding.zero_()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:  # a recording may have failed half-way
            self._steps.graphs.clear()
        self._steps.release()

    @torch.no_grad()
    def read(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `Decoder.read`. Shorter prompts are padded in front, as `Positions` does."""
        longest = max(map(len, prompts))
        table = torch.zeros(self._rows, longest, dtype=torch.long)
        padding = torch.zeros(self._arranged.room, self._width, dtype=torch.long)
        for cell, prompt in zip(self._cells, prompts, strict=True):
            table[cell, longest - len(prompt) :] = torch.tensor(prompt)
            padding[cell // self._width] = longest - len(prompt)
        self._inputs.padding.copy_(padding.view(-1, 1))
        table = table.to(self._device)
        if longest > SHORT_PROMPT:
            return self._read_at_once(table)
        for column in range(longest):
            self._inputs.tokens.copy_(table[:, column : column + 1])
            self._step()
        return self._inputs.scores[self._index]

    def advance(self, tokens: Tensor) -> Tensor:
        """See `Decoder.advance`; one token a row."""
        self._inputs.tokens[self._index] = tokens
        self._step()
        return self._inputs.scores[self._index]

    @torch.no_grad()
    def keep(self, rows: Sequence[int]) -> None:
        """See `Decoder.keep`. Rows stay in their cells where possible."""
        by_place: dict[int, list[int]] = {}
        for row in rows:
            by_place.setdefault(self._cells[row] // self._width, []).append(self._cells[row])
        utterance_at = {place: utterance for utterance, place in enumerate(self._arranged.places)}
        left = sorted(utterance_at[place] for place in by_place)
        after = arrange([self._slots[utterance] for utterance in left])
        moves = 2 * after.room <= self._arranged.room  # not for fewer: the step gets hardly faster
        stood = [self._arranged.places[utterance] for utterance in left]
        target = dict(zip(stood, after.places if moves else stood, strict=True))  # by place before
        sources = list(range((after if moves else self._arranged).room * self._width))
        found: dict[int, list[int]] = {}
        for place, cells in by_place.items():
            for column, cell in enumerate(_staying(cells, place * self._width)):
                sources[target[place] * self._width + column] = cell
                found.setdefault(cell, []).append(target[place] * self._width + column)
        self._cells = [found[self._cells[row]].pop(0) for row in rows]
        if sources != list(range(self._rows)):
            move_rows(self._said, torch.tensor(sources, device=self._device), self._count)
        if moves:
            self._move(after, {place: source for source, place in target.items()}, left)
        self._index = torch.tensor(self._cells, device=self._device)

    @property
    def _rows(self) -> int:
        """Number of cells in all places."""
        return self._arranged.room * self._width

    def _move(self, after: Arrangement, sources: Mapping[int, int], left: Sequence[int]) -> None:
        """Rearrange the utterances that are left. `sources` maps each new place to the old one."""
        chosen = torch.tensor([sources.get(place, 0) for place in range(after.room)], device=self._device)
        for heard in self._heard:
            heard[:, : after.room].copy_(heard.index_select(1, chosen))
        padding = self._inputs.padding.view(self._arranged.room, self._width)[chosen].view(-1, 1)
        self._slots = tuple(self._slots[utterance] for utterance in left)
        self._arranged = after
        self._lay_out()
        self._inputs.padding.copy_(padding)

    def _lay_out(self) -> None:
        """Look up the memory for this many rows. The first rows keep their contents."""
        steps = self._steps
        self._heard = steps.cache.heard_again(self._arranged.room)
        self._said = steps.cache.said(self._rows, self._capacity, self._like)
        self._inputs = steps.inputs(self._rows, _vocabulary(self._decoder), self._device)
        self._index = torch.tensor(self._cells, device=self._device)
        if self._layers and self._stack is not None and self._filled != self._arranged.slots:
            self._cores = steps.cores.fill(self._stack, self._layers, self._arranged.slots)
            self._filled = self._arranged.slots

    def _step(self) -> None:
        """Advance every cell by one token. Replays the step if it was recorded."""
        if self._count == self._capacity:
            self._capacity = longer(self._capacity)
            said = self._steps.cache.said(self._rows, self._capacity, self._like)
            self._said = grown(self._said, said, self._count)
        self._inputs.place.fill_(self._count)
        _, positions = self._decoder.embed
        positions.extend_pe(self._like.new_zeros(1, self._capacity))
        self._steps.settle()
        frames = self._heard.size(4)
        key = (self._arranged.room, self._width, self._capacity, frames, self._cores, positions.pe.data_ptr())
        self._steps.graphs.run(key, self._recorded_step)
        self._count += 1

    @torch.no_grad()
    def _recorded_step(self) -> None:
        inputs = self._inputs
        with self._mounted():
            inputs.scores.copy_(self._pass(inputs.tokens, inputs.place))

    @torch.no_grad()
    def _read_at_once(self, tokens: Tensor) -> Tensor:
        """Read the prompts (rows, L) in one pass."""
        length = tokens.size(1)
        while self._capacity <= length:
            self._capacity = longer(self._capacity)
        self._said = self._steps.cache.said(self._rows, self._capacity, self._like)
        self._decoder.embed[1].extend_pe(self._like.new_zeros(1, self._capacity))
        with self._mounted():
            scores = self._pass(tokens, torch.arange(length, device=self._device))
        self._count = length
        return scores[self._index]

    def _mounted(self) -> AbstractContextManager[None]:
        """Return a context in which the adapted layers read the static cores."""
        if self._cores is None:
            return nullcontext()
        return self._steps.cores.mounted(self._layers, self._cores)

    def _pass(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Map tokens (rows, L) at places (L,) to log-probabilities (rows, V) of the next token."""
        decoder, padding = self._decoder, self._inputs.padding
        embedding, positions = decoder.embed
        at = (places - padding).clamp(min=0)  # (rows, L)
        x = embedding(tokens) * positions.xscale + positions.pe[0, at]
        time = torch.arange(self._said.size(4), device=self._device)
        seen = (time <= places.unsqueeze(1)) & (time >= padding.unsqueeze(2))  # (rows, L, time)
        # A query on padding sees only itself, because a softmax over nothing is NaN.
        seen = (seen | (time == places.unsqueeze(1))).unsqueeze(1)
        hidden = torch.zeros_like(seen, dtype=x.dtype).masked_fill(~seen, -torch.inf)  # added to the scores
        for index, layer in enumerate(decoder.decoders):
            attend = partial(self._attend, index, layer.self_attn, places, hidden)
            x = through_layer(layer, x, attend, partial(self._listen, index, layer.src_attn))
        last = x[:, -1]
        if decoder.normalize_before:
            last = decoder.after_norm(last)
        assert decoder.output_layer is not None  # check_build
        return torch.log_softmax(output(decoder.output_layer, last).float(), dim=-1)

    def _attend(
        self, index: int, attention: MultiHeadedAttention, places: Tensor, hidden: Tensor, y: Tensor
    ) -> Tensor:
        """Attend from y (rows, L, d) to all tokens so far, y's included, as MultiHeadedAttention.forward."""
        keys, values = self._said[index]
        new_keys, new_values = keys_values(attention, y)
        keys.index_copy_(2, places, new_keys)
        values.index_copy_(2, places, new_values)
        queries = attention.q_norm(split(attention, attention.linear_q(y)))
        mixed = attention_of(queries, keys, values, hidden)
        out: Tensor = attention.linear_out(mixed.transpose(1, 2).reshape(y.shape))
        return out

    def _listen(self, index: int, attention: MultiHeadedAttention, y: Tensor) -> Tensor:
        """Attend from y (rows, L, d) to the encoder output, batched by utterance; see `_attend`."""
        keys, values = self._heard[index]
        asked = attention.linear_q(y).view(self._arranged.room, -1, y.size(-1))  # (U, width L, d)
        mixed = attention_of(attention.q_norm(split(attention, asked)), keys, values)
        out: Tensor = attention.linear_out(mixed.transpose(1, 2).reshape(y.shape))
        return out


def attention_of(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + hidden) v of (..., L, d), (..., T, d), (..., T, d).

    Half precision uses torch's fused kernel. In float32 that kernel takes three times as long as two products
    for a decoder's few queries (32 rows, 16 heads, 750 frames on an H200: 261 us instead of 77).
    """
    if queries.dtype != torch.float32:
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=hidden)
    scores = torch.matmul(queries / math.sqrt(queries.size(-1)), keys.transpose(-2, -1))
    scores = scores if hidden is None else scores + hidden
    return torch.matmul(torch.softmax(scores, dim=-1), values)


def _staying(cells: Sequence[int], first: int) -> list[int]:
    """Order the cells so that as many as possible keep their place; the k-th goes to first + k."""
    placed: list[int | None] = [None] * len(cells)
    others = []
    for cell in cells:
        place = cell - first
        if place < len(cells) and placed[place] is None:
            placed[place] = cell
        else:
            others.append(cell)
    rest = iter(others)
    return [next(rest) if cell is None else cell for cell in placed]


def _can_be_static(decoder: TransformerDecoder) -> bool:
    """Return whether each layer does the same for any batch of a size or follows a mixture of whole cores."""
    for module in decoder.modules():
        if isinstance(module, AdaptedLinear):
            mixed = module.mixed
            if module.core is not None or not isinstance(mixed, MixedLayer | None):
                return False
            if mixed is not None and (mixed.mixture.form != "auto" or mixed.mixture.stack.compression):
                return False
        elif type(module).__module__.startswith("peft."):  # its layers decide at each call
            return False
    return not decoder.training


def _mixture(decoder: TransformerDecoder) -> tuple[Mixture | None, dict[str, AdaptedLinear]]:
    """Return the open mixture, or None, and the layers that follow it by their names in it."""
    layers, mixture = {}, None
    for layer in decoder.modules():
        if isinstance(layer, AdaptedLinear) and isinstance(layer.mixed, MixedLayer):
            layers[layer.mixed.name], mixture = layer, layer.mixed.mixture
    return mixture, layers


def _vocabulary(decoder: TransformerDecoder) -> int:
    layer: nn.Linear | AdaptedLinear = decoder.output_layer
    return layer.out_features


_STEPS: weakref.WeakKeyDictionary[TransformerDecoder, StaticSteps] = weakref.WeakKeyDictionary()
