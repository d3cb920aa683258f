"""Replies in the formats of OpenAI's API. Each names the base and adapter that made it (promise 1)."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from fastapi.responses import JSONResponse, PlainTextResponse, Response

from server.api.form import TranscriptionForm
from server.engine.messages import PieceDecoding, Provenance, Reply, TextSegment
from server.languages import language_name
from server.subtitles import subtitles


def render(reply: Reply, form: TranscriptionForm) -> Response:
    """Return the reply in the form's format. JSON has the field `ssvd`, every format X-SSVD-* headers."""
    headers = provenance_headers(reply.provenance)
    kind = form.format
    if kind == "text":
        return PlainTextResponse(reply.text + "\n", headers=headers)
    if kind == "srt":
        return PlainTextResponse(subtitles(reply, kind), headers=headers)
    if kind == "vtt":
        return Response(subtitles(reply, kind), headers=headers, media_type="text/vtt")
    body: dict[str, Any] = {"text": reply.text}
    if kind == "verbose_json":
        body |= timed_fields(reply, form.granularities)
    body["usage"] = {"type": "duration", "seconds": round(reply.duration_s, 3)}
    body["ssvd"] = {
        **asdict(reply.provenance),
        "decoding": [_decoding(each) for each in reply.decoding],
        "warnings": list(reply.warnings),
    }
    return JSONResponse(body, headers=headers)


def timed_fields(reply: Reply, granularities: Collection[str]) -> dict[str, Any]:
    """Return the fields that `verbose_json` has beside the text.

    `words` lists the words that have times; a warning says where others have none.
    """
    fields: dict[str, Any] = {
        "task": "transcribe",
        "language": language_name(reply.language),
        "duration": reply.duration_s,
    }
    if "segment" in granularities:
        fields["segments"] = [_segment(index, each) for index, each in enumerate(reply.segments)]
    if "word" in granularities:
        fields["words"] = [
            {
                "word": word.word,
                "start": round(word.start_s, 3),
                "end": round(word.end_s, 3),
                "confidence": round(word.confidence or 0.0, 3),
            }
            for word in reply.words
            if word.start_s is not None and word.end_s is not None
        ]
    return fields


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
    data = segment.text.encode()
    return {
        "id": index,
        "seek": round(segment.start_s * 100),  # in units of 10 ms, as in Whisper
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": [token for word in segment.words for token in word.token_ids],
        "temperature": 0.0,
        "avg_logprob": round(segment.avg_logprob, 4),
        "compression_ratio": round(len(data) / len(zlib.compress(data)), 3),  # as in Whisper
        "no_speech_prob": round(segment.no_speech_prob, 4),
    }
