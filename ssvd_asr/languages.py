"""Languages as people write them: "en", "en-US", "eng", "<eng>" and "english", and the symbols of bases.

A symbol is the code of ISO 639-3 in brackets: <eng>.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ssvd_asr.errors import LanguageError
from ssvd_asr.iso_639 import ISO_639_3

# 639-3 codes and English names as OpenAI's replies have them.
_NAME_TABLE = """
afr afrikaans amh amharic ara arabic asm assamese aze azerbaijani bak bashkir bel belarusian bul
bulgarian ben bengali bod tibetan bre breton bos bosnian cat catalan ces czech cym welsh dan danish deu
german ell greek eng english spa spanish est estonian eus basque fas persian fin finnish fao faroese fra
french glg galician guj gujarati hau hausa haw hawaiian heb hebrew hin hindi hrv croatian hat
haitian_creole hun hungarian hye armenian ind indonesian isl icelandic ita italian jpn japanese jav
javanese kat georgian kaz kazakh khm khmer kan kannada kor korean lat latin ltz luxembourgish lin lingala
lao lao lit lithuanian lav latvian mlg malagasy mri maori mkd macedonian mal malayalam mon mongolian mar
marathi msa malay mlt maltese mya myanmar nep nepali nld dutch nno nynorsk nor norwegian oci occitan pan
punjabi pol polish pus pashto por portuguese ron romanian rus russian san sanskrit snd sindhi sin sinhala
slk slovak slv slovenian sna shona som somali sqi albanian srp serbian sun sundanese swe swedish swa
swahili tam tamil tel telugu tgk tajik tha thai tuk turkmen tgl tagalog tur turkish tat tatar ukr
ukrainian urd urdu uzb uzbek vie vietnamese yid yiddish yor yoruba yue cantonese zho chinese
"""
_NAMES: dict[str, str] = dict(re.findall(r"\b(\w{3})\s(\w+)", _NAME_TABLE))
# Other English names, as Whisper has them and as people write them.
_OTHER_NAMES = {
    "burmese": "mya", "castilian": "spa", "farsi": "fas", "flemish": "nld", "haitian": "hat",
    "irish": "gle", "letzeburgesch": "ltz", "mandarin": "zho", "moldavian": "ron", "moldovan": "ron",
    "norwegian bokmal": "nob", "norwegian bokmål": "nob", "norwegian nynorsk": "nno", "panjabi": "pan",
    "pushto": "pus", "sinhalese": "sin", "valencian": "cat",
}  # fmt: skip
_BY_NAME = {name.replace("_", " "): code for code, name in _NAMES.items()} | _OTHER_NAMES
_TWO_LETTERS = {three: two for two, three in ISO_639_3.items()}
_NOT_LANGUAGES = {"asr"}  # a task token, in the same brackets
# Codes of ISO 639-1 that were withdrawn. Whisper's own is jw.
_WITHDRAWN = {"jw": "jav", "iw": "heb", "in": "ind", "ji": "yid"}
# A language, and a script, a region or both, which no base tells apart: "en-US", "zh_Hant", "sr-Latn-RS".
_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z]{4})?(?:[-_](?:[a-z]{2}|[0-9]{3}))?")
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_SHOWN = 12  # languages of a base that an error names


def language_symbol(wanted: str) -> str:
    """Return the symbol of a language given as "en", "en-US", "eng", "<eng>" or "English", in any case.

    A base may not have it. Script and region are left out.

    Raises LanguageError for a task token, and for what is neither a code nor a name.
    """
    bare = wanted.strip().strip("<>").casefold()
    if bare in _NOT_LANGUAGES:
        raise LanguageError(f"{wanted!r} is a task of the base, not a language")
    if (name := " ".join(_BETWEEN_WORDS.split(bare))) in _BY_NAME:
        return f"<{_BY_NAME[name]}>"
    tag = _TAG.fullmatch(bare)
    if tag is None:
        raise LanguageError(
            f"{wanted!r} is no language: use a code of ISO 639-1 or 639-3, as en or eng, one with a region, "
            "as en-US, or an English name, as english"
        )
    return f"<{_WITHDRAWN.get(tag[1]) or ISO_639_3.get(tag[1], tag[1])}>"


def supported_language(wanted: str, known: Collection[str], base: str) -> str:
    """Return the symbol of a language that a base has.

    Args:
        wanted: as for `language_symbol`.
        known: the base's symbols.
        base: how the error calls the base, as "base owsm-nano".

    Raises LanguageError as `language_symbol` does, and with the languages that there are if this one is not.
    """
    symbol = language_symbol(wanted)
    if symbol not in known:
        raise LanguageError(_lacking(wanted, symbol.strip("<>"), known, base))
    return symbol


def two_letters(code: str) -> str:
    """Return the ISO 639-1 code of a 639-3 code, "en" for "eng"; the code itself where there is none."""
    return _TWO_LETTERS.get(code, code)


def language_name(code: str) -> str:
    """Return the English name of a 639-3 code, "english" for "eng"; the code itself where none is known."""
    return _NAMES.get(code, code).replace("_", " ")


def _lacking(wanted: str, code: str, known: Collection[str], base: str) -> str:
    """Return the sentence that a base has no such language, with its other names and those that there are."""
    short = two_letters(code)
    asked = wanted.strip().casefold()
    names = dict.fromkeys((language_name(code), short, code))
    others = [name for name in names if name != asked and (len(names) > 1 or f"<{name}>" != asked)]
    also = f" ({', '.join(others)})" if others else ""
    there = [symbol.strip("<>") for symbol in known]
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return f"{base} has no language {wanted!r}{also}; it has {', '.join(there[:_SHOWN])}{more}"
