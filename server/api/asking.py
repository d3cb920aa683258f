"""What a client asks for, whichever door it comes through, as a request of the engine without audio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.aliases import aliased
from server.api.naming import visible_aliases, wanted_domain
from server.auto.wish import MODES, Mode, wish_of
from server.engine.messages import Request
from server.errors import ApiError
from server.keys.caller import Caller
from server.languages import AUTO, distinct, is_auto, requested_language
from server.state import ServerState
from ssvd_asr.base.prompt import RECOGNITION, TO_ENGLISH
from ssvd_asr.decoding.keywords import distinct_keywords
from ssvd_asr.errors import LanguageError
from ssvd_asr.languages import supported_language

NO_AUDIO = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Asked:
    """The words of a client; see TranscriptionForm for their meaning."""

    model: str | None = None
    domain: str | None = None
    auto: Mode | None = None
    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str = ""
    translates: bool = False
    scores_tokens: bool = False
    keywords: tuple[str, ...] = ()

    @property
    def leaves_language_open(self) -> bool:
        """Whether the base is to identify the language: of a translation, also where none is named.

        Raises LanguageError for what is no language.
        """
        if len(distinct(self.languages)) > 1 or (self.language is not None and is_auto(self.language)):
            return True
        return self.translates and not (self.language or self.languages)


def request_for(state: ServerState, asked: Asked, caller: Caller) -> Request:
    """Return the caller's request. Side effects: none, and the domain is not looked up yet.

    Raises ApiError, LanguageError, KeywordError, and as wish_of does.
    """
    _check_task(asked, state)
    _check_prompt(asked.prompt, state)
    base, keywords = state.engine.recogniser, distinct_keywords(asked.keywords)
    base.check_keywords(keywords)
    aliases = visible_aliases(base.name, state.settings.aliases, caller.hidden)
    domain = wanted_domain(base.name, aliased(aliases, asked.model), asked.domain)
    auto = wish_of(domain, asked.auto or MODES[0])
    if auto is None and asked.auto is not None:
        raise ApiError(400, "auto goes with domain=auto", code="contradiction", param="auto")
    language, languages, warnings = _languages(asked, state)
    return Request(
        wave=NO_AUDIO,
        domain=None if auto is not None else domain,
        language=language,
        languages=languages,
        previous_text=asked.prompt.strip() or None,
        warnings=warnings,
        auto=auto,
        task=TO_ENGLISH if asked.translates else RECOGNITION,
        scores_tokens=asked.scores_tokens,
        keywords=keywords,
        caller=caller.name,
        hidden=caller.hidden,
    )


def _languages(asked: Asked, state: ServerState) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the symbol of the language, those to choose from, and what the reply says about them.

    Raises LanguageError for what `language` names, and ApiError for what `languages` does.
    """
    base = state.engine.recogniser
    try:
        wanted = AUTO if asked.leaves_language_open else asked.language or next(iter(asked.languages), None)
        language, warnings = requested_language(wanted, state.settings.language, base)
        several = (supported_language(each, base.languages, f"base {base.name}") for each in asked.languages)
        return language, tuple(dict.fromkeys(several)), warnings
    except LanguageError as error:
        if not asked.languages:
            raise
        code = "unsupported_language"
        raise ApiError(422, str(error), code=code, param="languages") from error


def _check_task(asked: Asked, state: ServerState) -> None:
    """Raise ApiError for a translation that the base cannot make."""
    base = state.engine.recogniser
    if asked.translates and not base.translates:
        raise ApiError(
            422, f"base {base.name} was not trained to translate; serve one that was, as openai/whisper-base",
            code="translation_unsupported", param="model",
        )  # fmt: skip


def _check_prompt(prompt: str, state: ServerState) -> None:
    """Raise ApiError for a prompt that the base does not support, or that would slow down the whole batch."""
    base, limit = state.engine.recogniser, state.settings.max_prompt_chars
    if prompt.strip() and not base.knows_previous_text:
        raise ApiError(
            422, f"base {base.name} was trained without previous texts, and hears worse with one: omit it",
            code="prompt_unsupported", param="prompt",
        )  # fmt: skip
    if len(prompt) > limit:
        raise ApiError(
            422, f"prompt has {len(prompt)} characters: the limit is {limit} (SSVD_MAX_PROMPT_CHARS)",
            code="prompt_too_long", param="prompt",
        )  # fmt: skip
