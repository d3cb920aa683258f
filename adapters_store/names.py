"""Names of domains and references to their versions.

A name is checked against a pattern and then looked up among existing ones. No client's text becomes part of
a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ssvd_asr.errors import StoreRefusedError, UnknownDomainError

MIN_DIGEST_DIGITS = 12
AUTO = "auto"  # in a request: the server chooses
# In numbers and logs: the base without a domain, any blend, and the domains beyond those that are told apart.
BASE, BLEND, OTHER = "base", "blend", "other"

# Words that stand for something else, and why. A store of an earlier release may have such a domain.
_WORDS = {
    AUTO: "a request says so to have one chosen",
    BASE: "numbers and logs call the base so",
    BLEND: "numbers and logs call blends so",
    OTHER: "numbers and logs call so the domains that they do not tell apart",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_DIGEST = re.compile(rf"sha256:([0-9a-f]{{{MIN_DIGEST_DIGITS},64}})")


@dataclass(frozen=True)
class Reference:
    """Reference to a version: a name, and at most one of a version number and the start of a digest."""

    name: str
    version: int | None = None
    digest_start: str | None = None  # lower-case hexadecimal, 12 to 64 digits

    @property
    def pinned(self) -> bool:
        """Whether it names one version rather than the active one."""
        return self.version is not None or self.digest_start is not None

    @property
    def text(self) -> str:
        """The reference as it is written."""
        if self.digest_start is not None:
            return pinned_reference(self.name, self.digest_start)
        return self.name if self.version is None else f"{self.name}@{self.version}"


def pinned_reference(name: str, sha256: str) -> str:
    """Return the reference that always means the same file, whatever is published under the name."""
    return f"{name}@sha256:{sha256}"


def is_name(text: str) -> bool:
    """Return whether a domain of a store may have this name. A new one may not have each: `check_name`."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> str:
    """Return the name if a new domain or alias may have it.

    Raises:
        StoreRefusedError: none may have this name.
    """
    if check_spelling(name) in _WORDS:
        raise StoreRefusedError(f"no domain can be called {name!r}: {_WORDS[name]}", code="invalid_name")
    return name


def check_spelling(name: str) -> str:
    """Return the name if a domain of a store may have it, also one that is there already.

    Raises:
        StoreRefusedError: it is spelled as no name is.
    """
    if not is_name(name):
        raise StoreRefusedError(
            f"domain name {name[:80]!r} must be 1 to 64 of a-z, 0-9, '.', '_' and '-' "
            "and begin with a letter or a digit",
            code="invalid_name",
        )
    return name


def parse_reference(text: str) -> Reference:
    """Read "child", "child@3" or "child@sha256:0123456789ab".

    Raises:
        UnknownDomainError: the text is none of these, so the store cannot hold it.
    """
    name, at, pin = text.partition("@")
    if is_name(name):
        if not at:
            return Reference(name)
        if _VERSION.fullmatch(pin):
            return Reference(name, version=int(pin))
        if digest := _DIGEST.fullmatch(pin):
            return Reference(name, digest_start=digest[1])
    raise UnknownDomainError(
        f"no domain {text[:120]!r}: a reference is name, name@version or name@sha256: "
        f"with {MIN_DIGEST_DIGITS} or more hexadecimal digits"
    )


def parse_name(text: str) -> str:
    """Read a reference that must not pin a version, and return its name.

    Raises:
        UnknownDomainError: the text is not a reference.
        StoreRefusedError: the reference pins a version.
    """
    reference = parse_reference(text)
    if reference.pinned:
        raise StoreRefusedError(
            f"{text[:120]!r} names a version; here the name {reference.name!r} alone is wanted",
            code="invalid_name",
        )
    return reference.name
