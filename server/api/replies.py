"""Replies in the formats of OpenAI's API. Each names the base and adapter that made it (promise 1)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from fastapi.responses import JSONResponse, PlainTextResponse, Response

from server.api.form import ResponseFormat
from server.engine.messages import PieceDecoding, Provenance, Reply, TextSegment


def render(reply: Reply, response_format: ResponseFormat) -> Response:
    """Return text/plain for `text`, else JSON with the field `ssvd`. Both have X-SSVD-* headers."""
    headers = provenance_headers(reply.provenance)
    if response_format == "text":
        return PlainTextResponse(reply.text + "\n", headers=headers)
    body: dict[str, Any] = {"text": reply.text}
    if response_format == "verbose_json":
        body |= {
            "task": "transcribe",
            "language": reply.language,
            "duration": reply.duration_s,
            "segments": [_segment(index, each) for index, each in enumerate(reply.segments)],
        }
    ssvd = asdict(reply.provenance) | {"decoding": [_decoding(each) for each in reply.decoding]}
    return JSONResponse(body | {"ssvd": ssvd}, headers=headers)


def provenance_headers(provenance: Provenance) -> dict[str, str]:
    """Return X-SSVD-Base, -Base-Digest, and with a domain -Domain, -Adapter-Version, -Adapter-SHA256."""
    names = {
        "base": "X-SSVD-Base",
        "base_digest": "X-SSVD-Base-Digest",
        "domain": "X-SSVD-Domain",
        "adapter_version": "X-SSVD-Adapter-Version",
        "adapter_sha256": "X-SSVD-Adapter-SHA256",
    }
    values = asdict(provenance)
    # Headers take ASCII only, and the name of a base may be a path with any characters.
    return {
        header: quote(str(values[field]), safe=" /:@")
        for field, header in names.items()
        if values[field] is not None
    }


def _decoding(piece: PieceDecoding) -> dict[str, Any]:
    """One piece of the field `ssvd.decoding`."""
    return {
        "start": round(piece.start_s, 3),
        "end": round(piece.end_s, 3),
        "search": piece.search,
        "doubt_nats": None if piece.doubt_nats is None else round(piece.doubt_nats, 2),
    }


def _segment(index: int, segment: TextSegment) -> dict[str, Any]:
    return {
        "id": index,
        "seek": round(segment.start_s * 100),  # in units of 10 ms, as in Whisper
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "temperature": 0.0,
        "avg_logprob": round(segment.avg_logprob, 4),
    }
