"""Choice of a domain in progress: what decides, what is known so far, and what the reply says of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from server.auto.candidates import Candidate
from server.auto.wish import AutoWish
from server.auto_options import AutoOptions
from server.bank.bank import Lease
from server.engine.jobs import Job, Part
from server.engine.messages import Chosen, Considered, Decoded
from ssvd_asr.audio.read import SAMPLE_RATE


@dataclass(eq=False)
class Choice:
    """One decision: about a whole request by its first pieces, or about one piece.

    Attributes:
        deciding: the pieces that decide, as parts without a domain.
        rest: the pieces that follow the decision.
        hint: whether the request names its domain and only wants to know of a better one.
    """

    job: Job
    wish: AutoWish
    deciding: Sequence[Part]
    rest: Sequence[Part]
    hint: bool = False
    candidates: Sequence[Candidate] = ()
    points: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)  # by index of the part
    likely: dict[str, float] = field(default_factory=dict)  # posterior by name
    leases: dict[str, Lease | None] = field(default_factory=dict)  # of the trials, by name
    tried: dict[str, dict[int, Decoded]] = field(default_factory=dict)  # by name, then index
    failed: set[str] = field(default_factory=set)
    settled: bool = False

    def release_all_but(self, chosen: Lease | None) -> None:
        """Give back what is not chosen, so that others find room while the rest is decoded."""
        for lease in self.leases.values():
            if lease is not None and lease is not chosen:
                lease.release()

    def scores(self, ctc_weight: float) -> dict[str, float]:
        """Return nats a token of each trial over the deciding pieces."""
        found = {}
        for name, decoded in self.tried.items():
            if name in self.failed or len(decoded) < len(self.deciding):
                continue
            score = nats_a_token(decoded.values(), ctc_weight)
            if score is not None:
                found[name] = score
        return found

    def likeness(self, name: str) -> float:
        """Return how likely a candidate is, for ordering: those whose voices are unknown come last."""
        return self.likely.get(name, -1.0)


def nats_a_token(decoded: Iterable[Decoded], ctc_weight: float) -> float | None:
    """Return how probable pieces' words are, or None where nothing tells: with the base's own times."""
    said = [each.said for each in decoded if each.said is not None]
    tokens = sum(each.tokens for each in said)
    return sum(each.score(ctc_weight) * each.tokens for each in said) / tokens if tokens else None


def how_many_decide(parts: Sequence[Part], heard_s: float) -> int:
    """Return how many pieces from the beginning hold `heard_s` seconds, at least one."""
    heard = 0.0
    for count, part in enumerate(parts, 1):
        heard += len(part.piece.wave) / SAMPLE_RATE
        if heard >= heard_s:
            return count
    return len(parts)


def chosen_of(choice: Choice, lease: Lease | None, options: AutoOptions) -> Chosen:
    """Return what the reply says of a choice that took this domain."""
    scores = choice.scores(options.ctc_weight)
    versions = {each.name: each.version for each in choice.candidates}
    shown = [each for each in choice.candidates if each.name in choice.likely or each.name in choice.leases]
    pieces = choice.deciding
    return Chosen(
        domain=None if lease is None else lease.name,
        start_s=pieces[0].piece.start_s,
        compared=len(scores) > 1,
        considered=tuple(
            Considered(
                each.name or None,
                None if (version := versions[each.name]) is None else version.version,
                None if version is None else version.sha256,
                choice.likely.get(each.name),
                scores.get(each.name),
            )
            for each in sorted(
                shown,
                key=lambda each: (-scores.get(each.name, float("-inf")), -choice.likeness(each.name)),
            )
        ),
    )
