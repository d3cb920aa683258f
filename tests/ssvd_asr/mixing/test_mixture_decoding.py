"""Mixed domains through encoder and decoder: the same tokens in every form, order and company (promise 2)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from adapters_store.packaged import PACKAGED, builtins
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import FloatArray
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.mixing.cost import FORMS
from ssvd_asr.mixing.mixture import CoreStack, Form
from tests.devices import DEVICES
from tests.random_owsm import LONG_TEXT

logger = logging.getLogger(__name__)

DOMAINS = ("child", "scottish")  # slots 1 and 2; slot 0 is the base
NEAR_TIE = 1e-4  # natural log: below it, rounding on another path may take the other token
MAX_TOKENS = 24


@dataclass(frozen=True)
class Nano:
    base: BaseModel
    adapted: AdaptedModel
    stack: CoreStack
    waves: Sequence[FloatArray]  # in turn of the child's and the Scottish speakers' clips


@pytest.fixture(scope="module", params=DEVICES)
def nano(request: pytest.FixtureRequest) -> Nano:
    base = load_base(device=request.param, dtype="float32")
    factors = factorize(base, progress=False)
    adapted = adapt(base.network, factors)
    stack = CoreStack(adapted.layers, 4, max(factor.rank for factor in factors.values()))
    clips = []
    for slot, (domain, version) in enumerate((domain, builtins(PACKAGED)[domain]) for domain in DOMAINS):
        adapter = load_adapter(version.path, base, factors).adapter
        stack.write(slot + 1, {name: core.detach() for name, core in adapter.cores().items()})
        folder = version.path.parent / "samples"
        clips.append([read_audio(path) for path in sorted(folder.glob(f"{domain}-test-*.opus"))[:3]])
    return Nano(base, adapted, stack, [wave for pair in zip(*clips, strict=True) for wave in pair])


def decode(
    nano: Nano,
    places: Sequence[int],
    rows: Sequence[int],
    form: Form | str,
    prompts: Sequence[Prompt] | None = None,
) -> list[Hypothesis]:
    """The waves at these places, each in the domain of its row."""
    prompts = prompts or [Prompt()] * len(rows)
    with nano.adapted.mixing(nano.stack, rows, form):  # type: ignore[arg-type]
        return greedy(nano.base, nano.base.encode([nano.waves[i] for i in places]), prompts, MAX_TOKENS)


def assert_same_but_for_near_ties(found: Sequence[Hypothesis], expected: Sequence[Hypothesis]) -> None:
    for row, (one, other) in enumerate(zip(found, expected, strict=True)):
        if one.token_ids != other.token_ids:
            margin = min(one.margin, other.margin)
            assert margin < NEAR_TIE, (row, one.text, other.text, margin)
            logger.warning("row %d: a near tie of %.1e fell the other way", row, margin)


@pytest.fixture(scope="module")
def each_alone(nano: Nano) -> dict[tuple[int, int], Hypothesis]:
    """(wave, slot): decoded alone, over the shared basis."""
    return {
        (place, slot): decode(nano, [place], [slot], "shared")[0] for place in range(3) for slot in range(3)
    }


@pytest.mark.parametrize("form", [*FORMS, "auto"])
@pytest.mark.parametrize(
    "order", [range(9), range(8, -1, -1), (4, 0, 8, 2, 6, 1, 5, 3, 7)], ids=["sorted", "reversed", "mixed"]
)
def test_child_scottish_and_base_in_one_batch_say_what_each_says_alone(
    nano: Nano, each_alone: dict[tuple[int, int], Hypothesis], form: str, order: Sequence[int]
) -> None:
    rows = [(place, slot) for slot in range(3) for place in range(3)]
    rows = [rows[index] for index in order]
    together = decode(nano, [place for place, _ in rows], [slot for _, slot in rows], form)
    assert_same_but_for_near_ties(together, [each_alone[row] for row in rows])


def test_the_domains_of_this_test_do_change_the_words(each_alone: dict[tuple[int, int], Hypothesis]) -> None:
    said = [{each_alone[place, slot].token_ids for slot in range(3)} for place in range(3)]
    assert any(len(by_domain) == 3 for by_domain in said)


@pytest.mark.parametrize("form", [*FORMS, "auto"])
def test_rows_with_prompts_of_their_own_say_what_each_says_alone(nano: Nano, form: str) -> None:
    prompts = [
        Prompt(),
        Prompt(previous_text="the small boat"),
        Prompt(previous_text=LONG_TEXT),
        Prompt(timestamps=True),
        Prompt(),
        Prompt(timestamps=True, previous_text="hill"),
    ]
    places, rows = [0, 1, 2, 3, 4, 5], [1, 0, 2, 1, 2, 0]
    alone = [
        decode(nano, [place], [row], "shared", [prompt])[0]
        for place, row, prompt in zip(places, rows, prompts, strict=True)
    ]
    together = decode(nano, places, rows, form, prompts)
    assert_same_but_for_near_ties(together, alone)
    for one, other in zip(together, alone, strict=True):
        if one.token_ids == other.token_ids:
            assert one.score == pytest.approx(other.score, abs=1e-4)


def test_a_mixture_is_what_using_the_cores_is(nano: Nano) -> None:
    prompts = [Prompt()] * 2
    with nano.adapted.using({name: nano.stack.core(name, 1) for name in nano.stack.touched([1])}):
        expected = greedy(nano.base, nano.base.encode(nano.waves[:2]), prompts, MAX_TOKENS)
    assert_same_but_for_near_ties(decode(nano, [0, 1], [1, 1], "auto"), expected)


def test_a_batch_of_the_base_has_the_bare_bases_scores(nano: Nano) -> None:
    plain = greedy(nano.base, nano.base.encode(nano.waves[:3]), [Prompt()] * 3, MAX_TOKENS)
    assert decode(nano, [0, 1, 2], [0, 0, 0], "auto") == plain


@pytest.mark.parametrize("form", [*FORMS, "auto"])
def test_rows_are_whole_again_for_the_next_decode(nano: Nano, form: Form) -> None:
    """Rows leave while decoding; the mixture's own rows come back, as OwsmDecoder promises."""
    prompts = [Prompt()] * 4
    with nano.adapted.mixing(nano.stack, [2, 0, 1, 1], form) as mixture:
        encoded = nano.base.encode(nano.waves[:4])
        first = greedy(nano.base, encoded, prompts, MAX_TOKENS)
        assert mixture.slots == (2, 0, 1, 1)
        second = greedy(nano.base, encoded, prompts, MAX_TOKENS)
    assert_same_but_for_near_ties(second, first)
