"""Replies of the server in verbose_json, made by hand: the words of a text, each with its start or none."""

from __future__ import annotations

import json
from typing import Any

from ui.auto import choices
from ui.client import Transcript
from ui.heard import heard_words

DURATION_S = 10.0
WORD_S = 0.4
SHA256 = "b" * 64


def segment(start_s: float, end_s: float, text: str) -> dict[str, Any]:
    return {"start": start_s, "end": end_s, "text": text}


def word(text: str, start_s: float) -> dict[str, Any]:
    return {"word": text, "start": start_s, "end": start_s + WORD_S, "confidence": 0.9}


def body(text: str, *starts_s: float, domain: str | None = None) -> dict[str, Any]:
    """A reply of one segment. Without starts, its words have no times."""
    made_by: dict[str, Any] = {"base": "owsm-nano", "base_digest": "sha256:" + "a" * 64, "domain": domain}
    made_by["warnings"] = []
    made_by |= {"adapter_version": domain and 2, "adapter_sha256": domain and SHA256}
    return {
        "text": text,
        "duration": DURATION_S,
        "segments": [segment(0.0, DURATION_S, text)] if text else [],
        "words": list(map(word, text.split(), starts_s)),
        "ssvd": made_by,
    }


def candidate(domain: str | None, likely: float | None, nats_a_token: float | None) -> dict[str, Any]:
    version = None if domain is None else 2
    return {"domain": domain, "adapter_version": version, "likely": likely, "nats_a_token": nats_a_token}


def choice(
    domain: str | None, *considered: dict[str, Any], start_s: float = 0.0, **more: Any
) -> dict[str, Any]:
    return {"start": start_s, "domain": domain, "compared": True, "considered": list(considered), **more}


def found_out(text: str, domain: str | None, *decisions: dict[str, Any]) -> dict[str, Any]:
    """A reply whose domain the server chose. Without decisions, its one is surest of all that it compared."""
    reply = body(text, domain=domain)
    scores = {None: -0.5, "child": -0.4, "scottish": -0.9, domain: -0.1}
    shares = {None: 0.3, "child": 0.62, "scottish": 0.08}
    considered = [candidate(each, shares.get(each), scores[each]) for each in scores]
    reply["ssvd"]["auto"] = list(decisions) or [choice(domain, *considered)]
    return reply


def transcript(text: str, *starts_s: float, domain: str | None = None) -> Transcript:
    """What the client makes of such a reply."""
    return read(body(text, *starts_s, domain=domain))


def read(reply: dict[str, Any]) -> Transcript:
    """What the client makes of a reply."""
    made_by = reply["ssvd"]
    return Transcript(
        text=reply["text"],
        words=heard_words(reply),
        duration_s=DURATION_S,
        reply=json.dumps(reply).encode(),
        base=made_by["base"],
        base_digest=made_by["base_digest"],
        domain=made_by["domain"],
        version=made_by["adapter_version"],
        sha256=made_by["adapter_sha256"],
        choices=choices(made_by),
    )
