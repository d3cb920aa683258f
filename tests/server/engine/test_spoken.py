"""The language of a request is what it names, or what its pieces were identified as; doubts are told."""

from __future__ import annotations

from server.engine.messages import PieceDecoding
from server.engine.spoken import UNDETERMINED, spoken
from ssvd_asr.base.prompt import IDENTIFIED


def piece(start_s: float, end_s: float, language: str) -> PieceDecoding:
    return PieceDecoding(start_s, end_s, "greedy", 0.0, language)


PIECES = [piece(0, 3, "<nld>"), piece(3, 10, "<eng>"), piece(10, 12, "<nld>")]


def test_a_language_that_the_request_names_is_its_language() -> None:
    assert spoken("<nld>", PIECES) == ("<nld>", ())


def test_an_identified_language_is_that_of_most_seconds_and_others_are_told() -> None:
    language, warnings = spoken(IDENTIFIED, PIECES)
    assert language == "<eng>"
    assert [each.partition(":")[0] for each in warnings] == ["0.00 to 3.00 s", "10.00 to 12.00 s"]
    assert "as dutch, not as english" in warnings[0]


def test_nothing_heard_is_no_language() -> None:
    language, (warning,) = spoken(IDENTIFIED, [])
    assert language == UNDETERMINED
    assert "nothing was heard" in warning
