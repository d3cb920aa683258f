"""A blend as a request writes it: what it means, what it is called, and what is refused in words."""

from __future__ import annotations

import pytest

from adapters_store.blends import is_blend, parse_blend, pinned_domain, resolve_blend
from ssvd_asr.errors import BlendError, UnknownDomainError


def told(text: str) -> list[tuple[str, float]]:
    return [(reference.text, weight) for reference, weight in parse_blend(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("child*0.8+scottish*0.8", [("child", 0.8), ("scottish", 0.8)]),
        (" child * .5 + scottish@2*1 ", [("child", 0.5), ("scottish@2", 1.0)]),
        ("child*2", [("child", 2.0)]),
        ("child+scottish*0.0001", [("child", 1.0), ("scottish", 0.0001)]),
        ("child@sha256:0123456789ab*1.25", [("child@sha256:0123456789ab", 1.25)]),
    ],
)
def test_parts_and_weights_are_read(text: str, parts: list[tuple[str, float]]) -> None:
    assert is_blend(text)
    assert told(text) == parts


@pytest.mark.parametrize(
    "weight", ["", "0", "0.0", "-0.5", "2.1", "nan", "inf", "1e0", "1e999", "0.00001", "½", "٣"]
)
def test_a_weight_is_a_plain_number_within_its_range(weight: str) -> None:
    with pytest.raises(BlendError, match=r"a decimal number of 0\.0001 to 2 with at most four decimals"):
        parse_blend(f"child*{weight}")


@pytest.mark.parametrize("text", ["+", "child+", "*0.5", "child*0.5*0.5", "child*0.5++scottish"])
def test_what_is_no_blend_is_refused(text: str) -> None:
    with pytest.raises(BlendError, match="is no blend: parts are name"):
        parse_blend(text)


def test_five_parts_are_too_many() -> None:
    with pytest.raises(BlendError, match="a blend of 5 parts; the most is 4"):
        parse_blend("+".join(["child*0.1"] * 5))


@pytest.mark.parametrize("text", ["CHILD*0.5", "../child*0.5", "child@*0.5", "child*0.5+klingon*0.5"])
def test_an_unknown_part_is_an_unknown_domain(store, text: str) -> None:
    with pytest.raises(UnknownDomainError):
        resolve_blend(text, store.resolve)


def test_the_order_of_the_parts_changes_the_name_alone(store) -> None:
    one = resolve_blend("child*0.8+scottish*0.5", store.resolve)
    other = resolve_blend("scottish*.50+child*0.80", store.resolve)
    assert one.sha256 == other.sha256
    assert [part.version.name for part in one.sorted_parts] == [
        part.version.name for part in other.sorted_parts
    ]
    assert one.name == "child*0.8+scottish*0.5"
    assert other.reference == "scottish@1*0.5+child@1*0.8"


@pytest.mark.parametrize(
    "other", ["child*0.8+scottish*0.6", "child*0.5+scottish*0.8", "child*0.8", "scottish*0.8"]
)
def test_other_weights_are_another_blend(store, other: str) -> None:
    assert (
        resolve_blend(other, store.resolve).sha256
        != resolve_blend("child*0.8+scottish*0.5", store.resolve).sha256
    )


def test_another_version_is_another_blend_and_a_pinned_one_stays(store, make) -> None:
    text = "child*0.8+scottish*0.5"
    before = resolve_blend(text, store.resolve)
    pinned = pinned_domain(text, store.resolve)
    store.publish("child", make(7))
    assert resolve_blend(text, store.resolve).sha256 != before.sha256
    assert resolve_blend(pinned, store.resolve) == before
    assert before.pinned == pinned


def test_one_adapter_under_two_names_is_named_once(store, make) -> None:
    store.publish("kids", make(100))  # the built-in child's bytes
    with pytest.raises(BlendError, match="child@1 and kids@1 are the same adapter"):
        resolve_blend("child*0.5+kids*0.5", store.resolve)


def test_the_heaviest_part_is_the_same_in_any_order(store) -> None:
    assert resolve_blend("child*0.4+scottish*0.5", store.resolve).heaviest.name == "scottish"
    equal = {resolve_blend(text, store.resolve).heaviest for text in ("child+scottish", "scottish+child")}
    assert len(equal) == 1
