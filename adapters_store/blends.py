"""Blends of domains: how a request writes one, and which versions and weights it is made of.

    child*0.8+scottish*0.8        child@2*0.5        child+scottish@sha256:0123456789ab*0.25

A blend has at most MAX_PARTS parts. Its identity is a digest over the digests and weights of its sorted
parts, so the order in which it is written does not matter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters_store.names import Reference, parse_reference
from adapters_store.versions import Version
from ssvd_asr.errors import BlendError, UnknownDomainError

MAX_PARTS = 4
MIN_WEIGHT, MAX_WEIGHT = 0.0001, 2.0

_WEIGHT = re.compile(r"[0-9]{1,2}(\.[0-9]{1,4})?|\.[0-9]{1,4}")  # few digits, so that blends are countable


@dataclass(frozen=True)
class Part:
    """One part of a blend: a version, and the factor on its numbers."""

    version: Version
    weight: float

    @property
    def pinned(self) -> str:
        """Text that always means this part, as "child@sha256:<digest>*0.8"."""
        return f"{self.version.pinned}*{self.weight:g}"


@dataclass(frozen=True)
class Blend:
    """Versions and weights, in the order in which they were written."""

    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """Names and weights, as "child*0.8+scottish*0.8"."""
        return "+".join(f"{part.version.name}*{part.weight:g}" for part in self.parts)

    @property
    def reference(self) -> str:
        """Versions and weights, as "child@2*0.8+scottish@1*0.8"."""
        return "+".join(f"{part.version.reference}*{part.weight:g}" for part in self.parts)

    @property
    def pinned(self) -> str:
        """Text that always means this blend: digests and weights."""
        return "+".join(part.pinned for part in self.parts)

    @property
    def sorted_parts(self) -> tuple[Part, ...]:
        """The parts in the order in which they are added."""
        return tuple(sorted(self.parts, key=lambda part: part.version.sha256))

    @property
    def sha256(self) -> str:
        """Identity of the blend, lower-case hexadecimal."""
        lines = [f"{part.version.sha256} {part.weight:g}\n" for part in self.sorted_parts]
        return hashlib.sha256(("ssvd-asr blend\n" + "".join(lines)).encode()).hexdigest()

    @property
    def heaviest(self) -> Version:
        """The part with the largest weight; of equal ones the first in the order of adding."""
        return max(self.sorted_parts, key=lambda part: part.weight).version


def is_blend(text: str) -> bool:
    """Return whether a request's domain is written as a blend."""
    return "*" in text or "+" in text


def parse_blend(text: str) -> tuple[tuple[Reference, float], ...]:
    """Read "child*0.8+scottish@2*0.8". A part without a weight has 1; blanks around signs are ignored.

    Raises:
        BlendError: more than MAX_PARTS parts, one without a name, or a weight that is not a decimal number of
            MIN_WEIGHT to MAX_WEIGHT with at most four decimals.
        UnknownDomainError: a part is no reference, so the store cannot hold it.
    """
    parts = text.split("+")
    if len(parts) > MAX_PARTS:
        raise BlendError(f"a blend of {len(parts)} parts; the most is {MAX_PARTS}")
    return tuple(_part(part.strip(), text) for part in parts)


def resolve_blend(text: str, resolve: Callable[[str], Version]) -> Blend:
    """Read a blend and look up its parts.

    Raises BlendError and UnknownDomainError as `parse_blend` and `resolve` do, and BlendError for two parts
    that are the same adapter.
    """
    return blend_of([(resolve(reference.text), weight) for reference, weight in parse_blend(text)])


def pinned_domain(text: str, resolve: Callable[[str], Version]) -> str:
    """Return a text that always means what this domain or blend means now. Raises as `resolve_blend` does."""
    if is_blend(text):
        return resolve_blend(text, resolve).pinned
    return resolve(text).pinned


def blend_of(parts: Sequence[tuple[Version, float]]) -> Blend:
    """Return the blend of these versions. Raises BlendError if two are the same adapter."""
    named: dict[str, Version] = {}
    for version, _ in parts:
        if twin := named.get(version.sha256):
            raise BlendError(
                f"{twin.reference} and {version.reference} are the same adapter: name it once, with "
                "the sum of the weights"
            )
        named[version.sha256] = version
    return Blend(tuple(Part(version, weight) for version, weight in parts))


def parse_weight(text: str) -> float:
    """Read a weight. Raises BlendError if it is not one."""
    weight = float(text) if _WEIGHT.fullmatch(text) else 0.0
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise BlendError(
            f"{text[:40]!r} is no weight of a blend, which is a decimal number of {MIN_WEIGHT:g} to "
            f"{MAX_WEIGHT:g} with at most four decimals"
        )
    return weight


def _part(part: str, text: str) -> tuple[Reference, float]:
    name, star, weight = (each.strip() for each in part.partition("*"))
    if not name or "*" in weight:
        raise BlendError(
            f"{text[:200]!r} is no blend: parts are name*weight with + between them, as "
            "child*0.8+scottish*0.8"
        )
    try:
        reference = parse_reference(name)
    except UnknownDomainError as error:
        raise UnknownDomainError(f"in the blend {text[:200]!r}: {error}") from error
    return reference, parse_weight(weight) if star else 1.0
