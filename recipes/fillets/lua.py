"""Reader of the calls in a dialogue script, which is Lua: `dialogId("name", "font", "English")`.

A script of this kind is a list of calls whose arguments are strings. Anything else in it is reported and
nothing of it is run. Format: Lua 5.1 Reference Manual, section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
      (?P<comment> --\[(?P<level>=*)\[.*?\](?P=level)\] | --[^\n]* )
    | (?P<long> \[(?P<equals>=*)\[\n?(?P<inside>.*?)\](?P=equals)\] )
    | (?P<quoted> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
    | (?P<name> [A-Za-z_]\w* )
    | (?P<join> \.\. )
    | (?P<sign> [^\s] )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE = re.compile(r"\\(\d{1,3}|.)", re.DOTALL)
_CONTROL = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True)
class Call:
    """A call whose arguments are strings."""

    line: int
    function: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class NotACall:
    """What of a script is none."""

    line: int
    found: str


class _OtherError(ValueError):
    """A token stands where another one belongs."""


def read_calls(script: str) -> Iterator[Call | NotACall]:
    """Yield the calls of a script in its order.

    What is no call, or is one with other arguments than strings, is yielded as such, up to the next name that
    begins a line.
    """
    tokens = [token for token in _TOKEN.finditer(script) if token["comment"] is None]
    at = 0
    while at < len(tokens):
        line = script.count("\n", 0, tokens[at].start()) + 1
        try:
            function, arguments, at = _call(tokens, at)
            yield Call(line, function, arguments)
        except _OtherError:
            begin, at = at, at + 1
            while at < len(tokens) and not _begins_line(script, tokens[at]):
                at += 1
            end = tokens[at - 1].end()
            yield NotACall(line, " ".join(script[tokens[begin].start() : end].split())[:80])


def _begins_line(script: str, token: re.Match[str]) -> bool:
    before = script[script.rfind("\n", 0, token.start()) + 1 : token.start()]
    return token["name"] is not None and not before.strip()


def _call(tokens: list[re.Match[str]], at: int) -> tuple[str, tuple[str, ...], int]:
    """Return function and arguments of the call that begins at a token, and the place after it."""
    function = _taken(tokens, at, "name")
    _sign(tokens, at + 1, "(")
    arguments: list[str] = []
    at += 2
    while True:
        text, at = _string(tokens, at)
        arguments.append(text)
        if at < len(tokens) and tokens[at]["sign"] == ",":
            at += 1
            continue
        _sign(tokens, at, ")")
        at += 1
        if at < len(tokens) and tokens[at]["sign"] == ";":
            at += 1
        return function, tuple(arguments), at


def _string(tokens: list[re.Match[str]], at: int) -> tuple[str, int]:
    """Return a string, or several joined by `..`, and the place after it."""
    parts = [_literal(tokens, at)]
    at += 1
    while at < len(tokens) and tokens[at]["join"] is not None:
        parts.append(_literal(tokens, at + 1))
        at += 2
    return "".join(parts), at


def _literal(tokens: list[re.Match[str]], at: int) -> str:
    if at < len(tokens) and tokens[at]["long"] is not None:
        return tokens[at]["inside"]
    return unescaped(_taken(tokens, at, "quoted")[1:-1])


def _taken(tokens: list[re.Match[str]], at: int, group: str) -> str:
    if at >= len(tokens) or tokens[at][group] is None:
        raise _OtherError
    return tokens[at][group]


def _sign(tokens: list[re.Match[str]], at: int, sign: str) -> None:
    if _taken(tokens, at, "sign") != sign:
        raise _OtherError


def unescaped(quoted: str) -> str:
    r"""Return the text of a quoted string: `\n`, `\"`, `\233` (a byte); another letter stands for itself."""
    if "\\" not in quoted:
        return quoted

    def byte(match: re.Match[str]) -> bytes:
        escape = match[1]
        if escape.isdecimal() and escape.isascii():
            return bytes([int(escape)]) if int(escape) < 256 else escape.encode()
        return _CONTROL.get(escape, escape).encode()

    parts, end = [], 0
    for match in _ESCAPE.finditer(quoted):
        parts += [quoted[end : match.start()].encode(), byte(match)]
        end = match.end()
    return b"".join([*parts, quoted[end:].encode()]).decode(errors="replace")
