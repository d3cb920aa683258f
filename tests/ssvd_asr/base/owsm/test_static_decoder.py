"""The static decoder says what the cached one says, for any batch; on a GPU its steps are replayed graphs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm import model
from ssvd_asr.base.owsm.decoder import OwsmDecoder
from ssvd_asr.base.owsm.shapes import TINY, random_base
from ssvd_asr.base.owsm.static_decoder import _STEPS, StaticDecoder, open_decoder
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.mixing.cost import FORMS
from ssvd_asr.mixing.mixture import CoreStack
from ssvd_asr.mixing.static_cores import arrange, rounded
from tests.devices import DEVICES
from tests.random_owsm import LONG_TEXT, waves

NEAR_TIE = 1e-4
SLOTS = 6


class Subject:
    """A random base with random domains in slots 1 .. SLOTS - 1."""

    def __init__(self, device: str) -> None:
        self.base: BaseModel = random_base(TINY, device=device)
        linears = match_layers(self.base.network)
        factors = {name: canonical_svd(linear.weight.detach().cpu()) for name, linear in linears.items()}
        self.adapted: AdaptedModel = adapt(self.base.network, factors)
        self.k = {name: factor.rank for name, factor in factors.items()}
        self.stack = CoreStack(self.adapted.layers, SLOTS, self.k)
        generator = torch.Generator().manual_seed(0)
        for slot in range(1, SLOTS):
            k = {name: max(1, k - slot) for name, k in self.k.items()}
            names = list(k)[slot:] if slot % 2 else list(k)
            self.stack.write(
                slot, {name: 0.3 * torch.randn(k[name], k[name], generator=generator) for name in names}
            )

    def encode(self, rows: int) -> torch.Tensor:
        return self.base.encode(waves(rows))


@pytest.fixture(scope="module", params=DEVICES)
def subject(request: pytest.FixtureRequest) -> Subject:
    return Subject(request.param)


@pytest.fixture(params=["merged", "folded", "cores"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, subject: Subject) -> None:
    """The ways to treat a block."""
    if request.param != "merged":
        monkeypatch.setattr(subject.stack.hot, "max_bytes", 0)
    if request.param == "cores":
        monkeypatch.setattr("ssvd_asr.mixing.static_cores.FOLDED_ROWS", 0)
    _STEPS.clear()  # what was recorded another way


class _Chosen:
    """Has every search take one decoder or the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, static: bool) -> None:
        self._monkeypatch.setattr(model, "open_decoder", partial(open_decoder, static=static))


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> _Chosen:
    return _Chosen(monkeypatch)


UNEQUAL = [
    Prompt(),
    Prompt(previous_text="a chair"),
    Prompt(previous_text=LONG_TEXT),
    Prompt(timestamps=True),
]
SLOT_ROWS = {
    "base": [0] * 5,
    "one domain": [1, 1, 1],
    "one row": [3],
    "few domains": [0, 1, 1, 2, 2, 2, 0, 1],
    "a domain each": [5, 2, 3, 1, 4, 0, 2],
}


def said(
    subject: Subject, slots: Sequence[int], prompts: Sequence[Prompt], size: int, weight: float
) -> list[Hypothesis]:
    with subject.adapted.mixing(subject.stack, slots):
        encoded = subject.encode(len(slots))
        limits = [5 + 7 * row for row in range(len(slots))]
        if size == 1:
            return greedy(subject.base, encoded, prompts, limits)
        return beam(subject.base, encoded, prompts, beam_size=size, ctc_weight=weight, max_tokens=70)


@pytest.mark.parametrize("slots", SLOT_ROWS.values(), ids=list(SLOT_ROWS))
@pytest.mark.parametrize(("size", "weight"), [(1, 0.0), (3, 0.0), (4, 0.3)], ids=["greedy", "beam", "ctc"])
@pytest.mark.parametrize("prompts", ["alike", "unequal"])
@pytest.mark.usefixtures("ways")
def test_both_decoders_say_the_same(
    subject: Subject, choose: _Chosen, slots: list[int], size: int, weight: float, prompts: str
) -> None:
    asked = (UNEQUAL[: 4 if weight == 0 else 3] * 2)[: len(slots)] if prompts == "unequal" else [Prompt()]
    asked = (list(asked) * len(slots))[: len(slots)]
    found = []
    for static in (False, True):
        choose(static)
        found.append(said(subject, slots, asked, size, weight))
    for one, other in zip(*found, strict=True):
        if one.token_ids != other.token_ids:
            assert min(one.margin, other.margin) < NEAR_TIE
        else:
            assert one.score == pytest.approx(other.score, abs=1e-3)


def test_scores_are_those_of_the_cached_decoder_while_rows_leave_repeat_and_change_places(
    subject: Subject,
) -> None:
    generator = torch.Generator().manual_seed(1)
    slots, width = [1, 1, 2, 0, 3, 2], 3
    texts = ("", "a", LONG_TEXT) * 2
    prompts = [subject.base.tokens.prompt_ids(Prompt(previous_text=text)) for text in texts]
    kept = [
        [0, 0, 1, 2, 3, 4, 5, 5, 5],  # beams open
        [1, 0, 0, 2, 4, 4, 5, 8, 7],
        [2, 1, 4, 5, 6],  # three utterances are left: a smaller batch
        [0, 2, 2, 4],
        [3, 3],
        [1],
    ]
    with subject.adapted.mixing(subject.stack, slots):
        encoded = subject.encode(len(slots))
        with (
            open_decoder(subject.base.network.decoder, encoded, width=width, static=True) as static,
            OwsmDecoder(subject.base.network.decoder, encoded) as cached,
        ):
            assert isinstance(static, StaticDecoder)
            ours, theirs = static.read(prompts), cached.read(prompts)
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
            for rows in kept:
                static.keep(rows)
                cached.keep(rows)
                for _ in range(3):
                    tokens = torch.randint(len(subject.base.tokens), (len(rows), 1), generator=generator)
                    tokens = tokens.to(encoded.device)
                    torch.testing.assert_close(
                        static.advance(tokens), cached.advance(tokens), atol=1e-4, rtol=0
                    )


def test_a_batch_in_the_midst_of_another_is_decoded_without_its_memory(subject: Subject) -> None:
    encoded, decoder = subject.encode(2), subject.base.network.decoder
    with (
        open_decoder(decoder, encoded, static=True) as first,
        open_decoder(decoder, encoded, static=True) as second,
    ):
        assert isinstance(first, StaticDecoder)
        assert isinstance(second, OwsmDecoder)
    with open_decoder(decoder, encoded, static=True) as again:
        assert isinstance(again, StaticDecoder)


def test_an_error_in_the_midst_leaves_a_decoder_that_can_be_used(subject: Subject, choose: _Chosen) -> None:
    choose(static=True)
    before = greedy(subject.base, subject.encode(3), [Prompt()] * 3, 9)
    with (
        pytest.raises(ZeroDivisionError),
        open_decoder(subject.base.network.decoder, subject.encode(2), static=True),
    ):
        raise ZeroDivisionError
    assert greedy(subject.base, subject.encode(3), [Prompt()] * 3, 9) == before


def test_layers_that_cannot_follow_a_recording_are_decoded_by_the_cached_decoder(subject: Subject) -> None:
    encoded, decoder = subject.encode(2), subject.base.network.decoder
    name = next(name for name in subject.adapted.layers if name.startswith("decoder."))
    with (
        subject.adapted.using({name: torch.zeros(2, 2, device=encoded.device)}),
        open_decoder(decoder, encoded, static=True) as found,
    ):
        assert isinstance(found, OwsmDecoder)
    with (
        subject.adapted.mixing(subject.stack, [1, 2], "merged"),
        open_decoder(decoder, encoded, static=True) as found,
    ):
        assert isinstance(found, OwsmDecoder)


def test_batches_of_one_size_share_a_recording(subject: Subject, choose: _Chosen) -> None:
    choose(static=True)
    prompts = [Prompt()] * 4
    for _ in range(2):
        with subject.adapted.mixing(subject.stack, [1, 2, 3, 4]):
            greedy(subject.base, subject.encode(4), prompts, 6)
    steps = _STEPS[subject.base.network.decoder]
    count = len(steps.graphs._recorded)
    for slots in ([4, 3, 2, 1], [2, 3, 5, 1]):
        with subject.adapted.mixing(subject.stack, slots):
            greedy(subject.base, subject.encode(4), prompts, 6)
    assert len(steps.graphs._recorded) == count
    assert count > 0 or subject.base.device.type == "cpu"


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80))
def test_an_arrangement_has_a_place_for_each_utterance_in_a_block_of_its_domain(slots: list[int]) -> None:
    arranged = arrange(slots)
    assert len(set(arranged.places)) == len(slots)
    assert [arranged.slots[place // arranged.block] for place in arranged.places] == slots
    assert len(slots) <= arranged.room
    assert arranged.room + len(arranged.slots) <= 2 * rounded(len(slots))  # no worse than a block each


def test_few_sizes_serve_all_batches() -> None:
    assert len({rounded(count) for count in range(1, 257)}) <= 30
    assert all(count <= rounded(count) <= 1.25 * count for count in range(4, 257))


def test_equally_many_rows_of_a_few_domains_fill_their_blocks() -> None:
    arranged = arrange([1] * 16 + [2] * 16 + [3] * 16 + [0] * 16)
    assert (arranged.room, arranged.slots) == (64, (1, 2, 3, 0))
    assert arrange(range(64)).slots == tuple(range(64))


def test_w_and_v_in_one_product_say_the_same(choose: _Chosen) -> None:
    """On a GPU `adapt` joins them; the numbers and the parameters stay."""
    subject = Subject("cpu")
    apart = said(subject, SLOT_ROWS["few domains"], [Prompt()] * 8, 1, 0.0)
    before = {name: layer.weight.clone() for name, layer in subject.adapted.layers.items()}
    parameters = list(map(id, subject.base.network.parameters()))
    for layer in subject.adapted.layers.values():
        assert layer.joined(8) is None
        layer.join()
        assert layer.weight.is_contiguous()
    choose(static=True)
    joined = [layer for layer in subject.adapted.layers.values() if layer.joined(8) is not None]
    assert len(joined) > len(before) / 2
    for layer in joined:
        assert torch.equal(layer.joined(8), torch.cat([layer.weight, layer.vh[:8]]))  # type: ignore[arg-type]
    for one, other in zip(
        said(subject, SLOT_ROWS["few domains"], [Prompt()] * 8, 1, 0.0), apart, strict=True
    ):
        assert one.token_ids == other.token_ids or one.margin < NEAR_TIE
    assert all(torch.equal(layer.weight, before[name]) for name, layer in subject.adapted.layers.items())
    assert list(map(id, subject.base.network.parameters())) == parameters


def test_sizes_in_whole_lanes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU cores and basis have zeros behind them up to a multiple of 8."""
    expected = said(Subject("cpu"), SLOT_ROWS["few domains"], [Prompt()] * 8, 1, 0.0)
    for module in ("layer.linear", "mixing.layer_cores", "mixing.plan"):
        monkeypatch.setattr(f"ssvd_asr.{module}.in_lanes", lambda k, _: -(-k // 8) * 8)
    subject = Subject("cpu")
    subject.stack.resize(
        SLOTS, {name: k - 1 for name, k in subject.k.items()}, {slot: slot for slot in (1, 2)}
    )
    assert all(part.shape[-1] % 8 == 0 for parts in subject.stack.parts.values() for part in parts)
    for form in ("auto", *FORMS):
        with subject.adapted.mixing(subject.stack, SLOT_ROWS["few domains"], form):  # type: ignore[arg-type]
            limits = [5 + 7 * row for row in range(8)]
            found = greedy(subject.base, subject.encode(8), [Prompt()] * 8, limits)
        for one, other in zip(found, expected, strict=True):
            assert one.token_ids == other.token_ids or one.margin < NEAR_TIE
