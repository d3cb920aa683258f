"""Languages are understood alike wherever they are named, and one that a base lacks is told."""

from __future__ import annotations

import pytest
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from ssvd_asr.base.whisper.languages import ISO_639_3 as WHISPERS
from ssvd_asr.errors import LanguageError
from ssvd_asr.languages import language_name, language_symbol, supported_language
from training.arguments import language


@pytest.mark.parametrize(
    "asked", ["nl", "NL", "dutch", "Dutch", "nl-NL", "nl_be", "<nld>", "nld", "nl-Latn-BE"]
)
def test_every_way_to_write_a_language_is_one_symbol(asked: str) -> None:
    assert language_symbol(asked) == supported_language(asked, ["<nld>"], "it") == language(asked) == "<nld>"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("Haitian Creole", "hat"),
        ("haitian_creole", "hat"),
        ("haitian-creole", "hat"),
        ("Flemish", "nld"),
        ("farsi", "fas"),
        ("Mandarin", "zho"),
        ("Norwegian  Nynorsk", "nno"),
    ],
)
def test_a_language_may_have_several_names(asked: str, code: str) -> None:
    assert language_symbol(asked) == f"<{code}>"


@pytest.mark.parametrize("code", WHISPERS)
def test_whispers_own_codes_and_names_are_understood(code: str) -> None:
    assert language_symbol(code) == f"<{WHISPERS[code]}>"
    assert language_symbol(language_name(WHISPERS[code])) == f"<{WHISPERS[code]}>"


@pytest.mark.parametrize("name", TO_LANGUAGE_CODE)
def test_every_name_that_whisper_understands_is_understood(name: str) -> None:
    assert language_symbol(name) == language_symbol(TO_LANGUAGE_CODE[name])


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("de", "base tiny has no language 'de' (german, deu); it has eng, nld"),
        ("deu", "base tiny has no language 'deu' (german, de); it has eng, nld"),
        ("German", "base tiny has no language 'German' (de, deu); it has eng, nld"),
        ("de-AT", "base tiny has no language 'de-AT' (german, de, deu); it has eng, nld"),
        ("<deu>", "base tiny has no language '<deu>' (german, de, deu); it has eng, nld"),
        ("tlh", "base tiny has no language 'tlh'; it has eng, nld"),
        ("<tlh>", "base tiny has no language '<tlh>'; it has eng, nld"),
    ],
)
def test_a_language_that_a_base_lacks_is_named_as_it_was_asked_for(asked: str, told: str) -> None:
    with pytest.raises(LanguageError) as caught:
        supported_language(asked, ["<eng>", "<nld>"], "base tiny")
    assert str(caught.value) == told


def test_of_many_languages_the_first_are_named_and_the_others_counted() -> None:
    known = [f"<{code}>" for code in WHISPERS.values()]
    with pytest.raises(LanguageError, match=r"it has eng, zho, .*, cat and 88 more$"):
        supported_language("tlh", known, "whisper")
