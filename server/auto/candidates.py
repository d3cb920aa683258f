"""Candidates of a choice: the base and the domains made for it, and how like a recording each is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from adapters_store.voices import FileState, file_name
from server.auto.wish import AutoWish
from server.domains import check_base, hiding, problem_of
from ssvd_asr.adapter.voices import VoiceRanking, VoiceSummary
from ssvd_asr.errors import AdapterError, StoreError

logger = logging.getLogger(__name__)

BASE = ""  # the name of the base among candidates


@dataclass(frozen=True)
class Candidate:
    """A version that a recording may be decoded in, or the base, and the voices it is for if known."""

    name: str  # of the domain; BASE
    version: Version | None
    summary: VoiceSummary | None


class Candidates:
    """The candidates of requests. Thread-safe."""

    def __init__(self, store: AdapterStore, base_name: str, base_digest: str, probe: str) -> None:
        """`probe`: how the base makes voice points now; summaries of another are not used."""
        self._store, self._base, self._digest, self._probe = store, base_name, base_digest, probe
        self._ours: set[str] = set()  # digests of versions that were made for this base
        # By digest: the state of the file beside the version, and what is known of the version then.
        self._known: dict[str, tuple[FileState | None, VoiceSummary | None]] = {}
        self._lock = threading.Lock()

    def check(self, wish: AutoWish) -> None:
        """Raise UnknownDomainError for a name that the store lacks, AdapterError for another base's."""
        for name in wish.names or ():
            found = hiding(self._store, wish.hidden)(name)
            try:
                check_base(found, self._base, self._digest)
            except AdapterError as error:
                raise type(error)(f"domain {name!r} cannot be chosen: {error}") from error

    def of(self, wish: AutoWish) -> tuple[Candidate, ...]:
        """Return the base and the domains of a wish. Reads files: do not call it on the device's thread."""
        if wish.names is None:
            shown = [each.active for each in self._store.list() if each.name not in wish.hidden]
            versions = [version for version in shown if self._is_for_us(version)]
        else:
            versions = [hiding(self._store, wish.hidden)(name) for name in wish.names]
        try:
            written = self._store.voices.written()
        except (StoreError, OSError) as error:
            logger.warning("summaries of voices cannot be read: %s", error)
            written = {}
        base = Candidate(BASE, None, self._summary(self._digest, None, written))
        domains = (Candidate(each.name, each, self._summary(each.sha256, each, written)) for each in versions)
        return base, *domains

    def _is_for_us(self, version: Version) -> bool:
        """Return whether a version was made for this base. Its file is read once: its bytes never change."""
        if version.sha256 not in self._ours:
            if problem_of(version, self._base, self._digest) is not None:
                return False
            self._ours.add(version.sha256)
        return True

    def _summary(
        self, digest: str, version: Version | None, written: Mapping[str, FileState]
    ) -> VoiceSummary | None:
        """Return a summary, read again only where the file beside the version has changed."""
        voices = self._store.voices
        try:
            state = written.get(file_name(digest))
            with self._lock:
                known = self._known.get(digest)
            if known is not None and known[0] == state:
                return known[1]
            found = voices.of_digest(digest) if version is None else voices.of_version(version)
        except (AdapterError, StoreError) as error:
            name = self._base if version is None else version.reference
            logger.warning("the voices of %s cannot be read: %s", name, error)
            return None
        if found is not None and found.probe != self._probe:
            found = None
        with self._lock:
            self._known[digest] = state, found
        return found


def posteriors(
    candidates: Sequence[Candidate], points: npt.ArrayLike, seconds: Sequence[float]
) -> dict[str, float]:
    """Return how probably a recording is like each candidate whose voices are known, by name.

    Voices in numbers that do not go with the points (pieces, r) count as unknown, so that one odd adapter
    file does not spoil the choice for all. Nothing is known by points that are not finite.
    """
    where = np.asarray(points)
    if not np.isfinite(where).all():
        logger.warning("the base's voice points of a recording are not finite")
        return {}
    known = tuple(
        (each.name, each.summary)
        for each in candidates
        if each.summary is not None and each.summary.width == where.shape[1]
    )
    return _ranking(known).posteriors(where, seconds)


@lru_cache(maxsize=8)
def _ranking(known: tuple[tuple[str, VoiceSummary], ...]) -> VoiceRanking:
    return VoiceRanking(dict(known))
