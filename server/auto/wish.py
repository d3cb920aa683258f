"""What `domain=auto` asks for: "auto", or "auto:child,scottish" with the only domains to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from adapters_store.names import AUTO, parse_reference
from ssvd_asr.errors import UnknownDomainError

Mode = Literal["full", "fast"]  # `fast` decodes only once, in the domain that the recording is most like
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class AutoWish:
    """A request's wish for the domain that suits its recording.

    Attributes:
        names: references to choose from, beside the base; None: all domains of the base.
        hidden: names of domains that do not exist for whoever asks.
    """

    names: tuple[str, ...] | None = None
    mode: Mode = "full"
    hidden: frozenset[str] = frozenset()


def wish_of(domain: str | None, mode: Mode = MODES[0]) -> AutoWish | None:
    """Return what a request's domain leaves to the server, or None where it names one or the base.

    Raises as `parse_auto` does.
    """
    if domain is None or domain.partition(":")[0].strip() != AUTO:
        return None
    return parse_auto(domain, mode)


def parse_auto(domain: str, mode: Mode) -> AutoWish:
    """Read "auto" or "auto:child,scottish@2". Raises UnknownDomainError for a list that is none."""
    _, colon, listed = domain.partition(":")
    if not colon:
        return AutoWish(mode=mode)
    names = [part.strip() for part in listed.split(",")]
    if not all(names):
        raise UnknownDomainError(f"domain {domain[:120]!r}: auto: is followed by names with commas between")
    domains = {parse_reference(name).name for name in names}
    if len(domains) < len(names):  # also at two versions: a reply names the candidates by their domains
        raise UnknownDomainError(f"domain {domain[:120]!r} names a domain twice")
    return AutoWish(tuple(names), mode)
