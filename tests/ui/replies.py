"""Replies of the server in verbose_json, made by hand: the words of a text, each with its start or none."""

from __future__ import annotations

import json
from typing import Any

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


def transcript(text: str, *starts_s: float, domain: str | None = None) -> Transcript:
    """What the client makes of such a reply."""
    reply = body(text, *starts_s, domain=domain)
    made_by = reply["ssvd"]
    return Transcript(
        text=text,
        words=heard_words(reply),
        duration_s=DURATION_S,
        reply=json.dumps(reply).encode(),
        base=made_by["base"],
        base_digest=made_by["base_digest"],
        domain=domain,
        version=made_by["adapter_version"],
        sha256=made_by["adapter_sha256"],
    )
