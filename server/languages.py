"""Languages of requests: named, left to the server, or to the base that identifies them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ssvd_asr.base.prompt import IDENTIFIED
from ssvd_asr.errors import LanguageError
from ssvd_asr.languages import language_name, language_symbol, supported_language

AUTO = "auto"  # leaves the language to the server


class Hearing(Protocol):
    """What a base says of languages."""

    name: str
    identifies_language: bool

    @property
    def languages(self) -> Collection[str]:
        """The symbols of those it has."""
        ...


def is_auto(wanted: str) -> bool:
    """Return whether a request leaves its language to the server."""
    return wanted.strip().casefold() == AUTO


def described(base: Hearing, default: str) -> dict[str, object]:
    """Return what a base hears for clients that offer a choice: codes of ISO 639-3 with English names."""
    codes = sorted(symbol.strip("<>") for symbol in base.languages)
    return {
        "language": AUTO if is_auto(default) else language_symbol(default).strip("<>"),
        "languages": [{"code": code, "name": language_name(code)} for code in codes],
        "identifies_language": base.identifies_language,
    }


def distinct(wanted: Collection[str]) -> tuple[str, ...]:
    """Return the symbol of each language once: `en` and `eng` are one. Raises LanguageError."""
    return tuple(dict.fromkeys(language_symbol(each) for each in wanted))


def requested_language(wanted: str | None, default: str, base: Hearing) -> tuple[str, tuple[str, ...]]:
    """Return the symbol for a request, and sentences that its reply says about it.

    Args:
        wanted: as the request names it; None takes the default, and AUTO what the base identifies.
        default: the setting `language`.

    Raises LanguageError for what is no language, and for one that the base does not have.
    """
    if wanted is None or not is_auto(wanted):
        return _named(wanted or default, base), ()
    if base.identifies_language:
        return IDENTIFIED, ()
    symbol = language_symbol(default)
    return symbol, (
        f"language={AUTO}: this base does not identify languages, {language_name(symbol.strip('<>'))} was "
        "assumed (SSVD_LANGUAGE)",
    )


def _named(wanted: str, base: Hearing) -> str:
    try:
        language_symbol(wanted)
    except LanguageError as error:
        raise LanguageError(f"{error}; {AUTO} leaves it to the server") from None
    return supported_language(wanted, base.languages, f"base {base.name}")
