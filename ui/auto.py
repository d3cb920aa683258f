"""What the server chose by itself, and what it considered, read from its verbose_json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

AUTO = "auto"  # in a request: the server chooses the domain


@dataclass(frozen=True)
class Candidate:
    """A domain that was considered, or the base.

    Attributes:
        domain: None for the base.
        likely: from 0 to 1, how probably the voice is of its kind; None where its voices are not known.
        nats_a_token: how probable it finds its words, higher is surer; None where it was not tried.
    """

    domain: str | None
    version: int | None
    likely: float | None
    nats_a_token: float | None


@dataclass(frozen=True)
class Choice:
    """One decision. `domain` is None for the base; the candidates are each there once, the best first.

    Attributes:
        start_s: where in the recording the part begins that it is about.
        compared: whether the words of several candidates were compared.
        channel: counts from 0; None where the channels were mixed.
    """

    start_s: float
    domain: str | None
    compared: bool
    considered: tuple[Candidate, ...]
    channel: int | None = None

    @property
    def version(self) -> int | None:
        """Version of the domain that was chosen; None for the base."""
        return next((each.version for each in self.considered if each.domain == self.domain), None)


def choices(ssvd: dict[str, Any]) -> tuple[Choice, ...]:
    """Return the choices in a reply's field `ssvd`. A reply in a named domain has none."""
    return tuple(
        Choice(
            start_s=float(each["start"]),
            domain=each["domain"],
            compared=each["compared"],
            considered=tuple({one["domain"]: _candidate(one) for one in each["considered"]}.values()),
            channel=each.get("channel"),
        )
        for each in ssvd.get("auto", ())
    )


def _candidate(entry: dict[str, Any]) -> Candidate:
    return Candidate(entry["domain"], entry["adapter_version"], entry["likely"], entry["nats_a_token"])
