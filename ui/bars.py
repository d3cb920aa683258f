"""HTML of what the server found out by itself: the domain that it chose, and the candidates as bars.

A bar is as long as the candidate is likely, and has the share as text. Words say which one was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ui.auto import Candidate, Choice
from ui.client import Transcript

BASE = "the base model"
SHOWN = 5  # candidates that are not folded away, at least
NEARLY_NATS = 0.1  # a token: below, the server does not call one surer in its hints either

NOTHING_HEARD = "The server heard no speech to choose a domain by, so this is the base model alone."
BASE_ALONE = "The base model was chosen, without a domain. So there is one transcript, and none to compare."
TRIED = "The words of several were compared, and the surest were taken."
TRIED_AND_KEPT = "The words of several were compared. No domain leads by as much as this server asks for."
BY_VOICE = "The voice decided: no words were compared."
NOT_COMPARED = "There was nothing to compare, neither known voices nor words."


def found_out(transcript: Transcript) -> str:
    """Return what was chosen for a transcript, each part with its candidates. The server chose it."""
    if not transcript.choices:
        return f'<section class="ssvd-found"><p>{NOTHING_HEARD}</p></section>'
    if len(transcript.choices) == 1:
        (choice,) = transcript.choices
        title, body = f"Found out: {_named(choice.domain, choice.version)}", _candidates(choice)
    else:
        title, body = "Found out for each part", "".join(map(_part, transcript.choices))
    alone = "" if transcript.mixed or transcript.domain is not None else f"<p>{BASE_ALONE}</p>"
    return f'<section class="ssvd-found" id="ssvd-found"><h3>{title}</h3>{alone}{body}</section>'


def other_parts(transcript: Transcript) -> str:
    """Return, as HTML, what decoded parts of the recording beside the domain of the provenance."""
    found = {each.domain: _named(each.domain, each.version) for each in transcript.choices}
    found.pop(transcript.domain, None)
    return " and ".join(found.values())


def _part(choice: Choice) -> str:
    """Return one of several choices, folded: its line has the place and what was chosen."""
    channel = "" if choice.channel is None else f"Channel {choice.channel}, "
    line = f"{channel}from {_clock(choice.start_s)}: {_named(choice.domain, choice.version)}"
    return f"<details><summary>{line}</summary>{_candidates(choice)}</details>"


def _candidates(choice: Choice) -> str:
    """Return why it was chosen, and the bars: the chosen one, those that were tried, then the likeliest."""
    considered = sorted(choice.considered, key=lambda each: each.domain != choice.domain)
    tried = sum(each.nats_a_token is not None for each in considered)
    surest = max((each.nats_a_token for each in considered if each.nats_a_token is not None), default=None)
    bars = [_bar(each, choice, surest if choice.compared else None) for each in considered]
    first = max(SHOWN, tried)
    more = ""
    if len(bars) > first:
        count = len(bars) - first
        more = f"<details><summary>{count} more</summary>{_list(bars[first:])}</details>"
    return f"<p>{_why(choice, surest)}</p>{_list(bars[:first])}{more}"


def _why(choice: Choice, surest: float | None) -> str:
    chosen = next((each for each in choice.considered if each.domain == choice.domain), None)
    if choice.compared:
        kept = chosen is not None and chosen.nats_a_token is not None and chosen.nats_a_token != surest
        return TRIED_AND_KEPT if kept else TRIED
    return BY_VOICE if chosen is not None and chosen.likely is not None else NOT_COMPARED


def _list(bars: Sequence[str]) -> str:
    return f'<ul class="ssvd-bars">{"".join(bars)}</ul>'


def _bar(candidate: Candidate, choice: Choice, surest: float | None) -> str:
    """Return one candidate. `surest` is the best score of the words that were compared."""
    chosen = candidate.domain == choice.domain
    said = ["✓ chosen"] if chosen else []
    exact = ""
    if surest is not None and candidate.nats_a_token is not None:
        said.append(_sureness(surest - candidate.nats_a_token))
        exact = f' title="{candidate.nats_a_token:.2f} nats a token"'
    elif choice.compared:
        said.append("not tried")
    name = _named(candidate.domain, candidate.version)
    kind = " ssvd-chosen" if chosen else ""
    told = f'<span class="ssvd-sure"{exact}>{", ".join(said)}</span>'
    return f'<li class="ssvd-candidate{kind}"><span>{name}</span>{_likely(candidate.likely)}{told}</li>'


def _sureness(behind_nats: float) -> str:
    if behind_nats <= 0:
        return "surest of its words"
    return "nearly as sure of its words" if behind_nats < NEARLY_NATS else "less sure of its words"


def _likely(likely: float | None) -> str:
    if likely is None:
        return '<span class="ssvd-unknown">its voices are not known</span>'
    return f'<span class="ssvd-bar" style="--share: {100 * likely:.1f}%">{_share(likely)} likely</span>'


def _share(likely: float) -> str:
    """Return a probability in per cent. Rounding never makes it certain or impossible."""
    percent = 100 * likely
    if percent < 1:
        return "under 1 %"
    return "over 99 %" if percent > 99 else f"{percent:.0f} %"


def _named(domain: str | None, version: int | None) -> str:
    """Return a candidate's name, as HTML."""
    if domain is None:
        return BASE
    return escape(domain) if version is None else f"{escape(domain)} version {version}"


def _clock(start_s: float) -> str:
    minutes, seconds = divmod(int(start_s), 60)
    return f"{minutes}:{seconds:02}"
