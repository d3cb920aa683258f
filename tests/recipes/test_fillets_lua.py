"""Dialogue scripts: strings are read as Lua reads them, and what is no call of strings is told."""

from __future__ import annotations

import pytest

from recipes.fillets.corpus import Dialogue, dialogues_of
from recipes.fillets.lua import Call, NotACall, read_calls


def calls(script: str) -> list[tuple[str, ...]]:
    return [(one.function, *one.arguments) for one in read_calls(script) if isinstance(one, Call)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"Ahoj, loď!"', "Ahoj, loď!"),
        (r'"she said \"no\" and \'yes\'"', "she said \"no\" and 'yes'"),
        (r"'it is \"it\"'", 'it is "it"'),
        ("'a, b) -- c'", "a, b) -- c"),
        (r'"C:\\WINDOWS"', r"C:\WINDOWS"),
        (r'"naar \/etc"', "naar /etc"),
        (r'"a\nb\tc"', "a\nb\tc"),
        (r'"lo\196\143"', "loď"),
        ('"a\\\nb"', "a\nb"),
        ("[[a \"b\" 'c' \\n]]", "a \"b\" 'c' \\n"),
        ("[==[\na]]b]==]", "a]]b"),
        ('"one " .. "two"..[[ three]]', "one two three"),
        ('""', ""),
    ],
)
def test_a_string_is_read_as_lua_reads_it(written: str, meant: str) -> None:
    assert calls(f"dialogStr({written})") == [("dialogStr", meant)]


def test_a_call_may_have_lines_and_comments_in_it() -> None:
    script = 'f ( "a" , -- first\n\n "b" --[[ second\n ) ]] )\ng("c"); h("d")'
    assert calls(script) == [("f", "a", "b"), ("g", "c"), ("h", "d")]


@pytest.mark.parametrize(
    "other",
    [
        'f(name, "b")',
        'f("a" .. name)',
        'f("a"',
        'f("a" "b")',
        "f()",
        "f(5)",
        "local x = 5",
        '"a"',
        'f("a\n")',
        ")",
        "f",
    ],
)
def test_what_is_no_call_of_strings_is_told_and_the_next_line_is_read(other: str) -> None:
    found = list(read_calls(f'first("1")\n{other}\nlast("2")'))
    assert found[0] == Call(1, "first", ("1",))
    assert found[-1] == Call(2 + other.count("\n") + 1, "last", ("2",))
    told = [one for one in found if isinstance(one, NotACall)]
    assert told
    assert told[0].line == 2


def test_a_dialogue_is_a_name_and_the_text_after_it() -> None:
    script = """
        dialogId("a", "font_small", "A?")
        dialogStr("Á?")
        dialogId("b", "font_big", "B")
        dialogId("c", "font_big", "C") dialogStr("Č")
        dialogStr("to nobody")
        dialogId("d", "font_big")
        other("x")
        dialogId("e", "", "E")
    """
    found = list(dialogues_of(script, "cave"))
    assert [one for one in found if isinstance(one, Dialogue)] == [
        Dialogue("cave", "a", "font_small", "A?", "Á?"),
        Dialogue("cave", "b", "font_big", "B", None),
        Dialogue("cave", "c", "font_big", "C", "Č"),
        Dialogue("cave", "e", "", "E", None),
    ]
    assert [one.line for one in found if isinstance(one, NotACall)] == [6, 7, 8]


def test_a_text_after_something_that_is_not_understood_belongs_to_no_dialogue() -> None:
    script = 'dialogId("a", "font_big", "A")\ndialogId("b", font, "B")\ndialogStr("Bé")'
    found = list(dialogues_of(script, "cave"))
    assert not [one for one in found if isinstance(one, Dialogue) and one.text == "Bé"]
