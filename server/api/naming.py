"""Names of domains in a request: `model="owsm-nano:child"`, `domain="child"`, or both if they agree."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapters_store.blends import is_blend
from server.errors import ApiError


def wanted_domain(base: str, model: str | None, domain: str | None) -> str | None:
    """Return the store's reference that the two fields name, or None for the base.

    Raises ApiError: 404 for a model that is not served here, 400 for an empty name or a contradiction.
    """
    if domain is not None and not domain.strip():
        raise ApiError(
            400, "domain is empty; leave the field out for the base", code="invalid_value", param="domain"
        )
    named = None if model is None else _domain_of(base, model)
    if named is None or domain is None:
        return named or domain
    return _agreed(named, domain.strip())


def model_name(base: str, domain: str | None) -> str:
    """Return the name of a base, or of one of its domains, for OpenAI's `model` field."""
    return base if domain is None else f"{base}:{domain}"


def is_model_of(base: str, model: str) -> bool:
    """Return whether a name is that of the base or has the form of one of its domains'."""
    return model == base or model.startswith(f"{base}:")


def visible_aliases(base: str, aliases: Mapping[str, str], hidden: frozenset[str]) -> dict[str, str]:
    """Return the aliases that stand for no hidden domain, nor for a blend or a choice of one."""
    return {
        alias: model
        for alias, model in aliases.items()
        if not hidden.intersection(re.split(r"[^a-z0-9._-]+", model.removeprefix(f"{base}:")))
    }


def _domain_of(base: str, model: str) -> str | None:
    if model == base:
        return None
    prefix, domain = model[: len(base) + 1], model[len(base) + 1 :]
    if prefix != f"{base}:":
        raise ApiError(
            404,
            f"model {model!r} is not served here; there is {base!r}, alone or as {base + ':<domain>'!r}",
            code="model_not_found",
            param="model",
        )
    if not domain:
        raise ApiError(
            400, f"model {model!r} names no domain after the colon", code="invalid_value", param="model"
        )
    return domain


def _agreed(first: str, second: str) -> str:
    """Return the more exact of two references that agree: equal, or one pins a version of the other.

    Raises ApiError 400 if they do not agree.
    """
    if first == second or first == _unpinned(second):
        return second
    if second == _unpinned(first):
        return first
    raise ApiError(
        400,
        f"model asks for domain {first!r} and domain for {second!r}; name one of them",
        code="contradiction",
        param="domain",
    )


def _unpinned(reference: str) -> str | None:
    """Return the name of a reference without its version; None for a blend, which has several."""
    return None if is_blend(reference) else reference.partition("@")[0]
