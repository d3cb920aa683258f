"""Fields of a reply that the HTTP API and `ssvd transcribe` share, without the web framework."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from server.engine.messages import PieceDecoding, Provenance, Reply, TextSegment
from ssvd_asr.languages import language_name


def timed_fields(reply: Reply, granularities: Collection[str]) -> dict[str, Any]:
    """Return the fields that `verbose_json` has beside the text.

    `words` lists only the words that have times. Warnings of the reply say why others have none.
    """
    fields: dict[str, Any] = {
        "task": "transcribe",
        "language": language_name(reply.language),
        "duration": reply.duration_s,
    }
    if "segment" in granularities:
        fields["segments"] = [_segment(index, each) for index, each in enumerate(reply.segments)]
    if "word" in granularities:
        fields["words"] = sorted(
            (
                {
                    "word": word.word,
                    "start": round(word.start_s, 3),
                    "end": round(word.end_s, 3),
                    "confidence": round(word.confidence or 0.0, 3),
                    **_channel(segment.channel),
                }
                for segment in reply.segments
                for word in segment.words
                if word.start_s is not None and word.end_s is not None
            ),
            # Channels may speak at the same time. Words of one are in order, even where times are not.
            key=lambda word: word["start"] if reply.channels else 0,
        )
    return fields


def provenance_fields(made_by: Provenance) -> dict[str, Any]:
    """Return the fields that name base and adapter; `parts` is there for a blend only."""
    fields = asdict(made_by)
    parts = fields.pop("parts")
    return fields | ({"parts": list(parts)} if parts else {})


def channel_fields(reply: Reply) -> dict[str, Any]:
    """Return the field `channels`, where the channels were transcribed apart."""
    texts = [{"channel": channel, "text": text} for channel, text in enumerate(reply.channels)]
    return {"channels": texts} if texts else {}


def auto_fields(reply: Reply) -> dict[str, Any]:
    """Return the field `ssvd.auto`, where the server chose the domain: each choice with its candidates."""
    if not reply.chosen:
        return {}
    return {
        "auto": [
            {
                "start": round(each.start_s, 3),
                "domain": each.domain,
                "compared": each.compared,
                "considered": [
                    {
                        "domain": one.domain,
                        "adapter_version": one.version,
                        "adapter_sha256": one.sha256,
                        "likely": None if one.likely is None else round(one.likely, 4),
                        "nats_a_token": None if one.nats_a_token is None else round(one.nats_a_token, 4),
                    }
                    for one in each.considered
                ],
                **_channel(each.channel),
            }
            for each in reply.chosen
        ]
    }


def decoding_fields(piece: PieceDecoding) -> dict[str, Any]:
    """Return one item of the field `ssvd.decoding`."""
    return {
        "start": round(piece.start_s, 3),
        "end": round(piece.end_s, 3),
        "search": piece.search,
        "doubt_nats": None if piece.doubt_nats is None else round(piece.doubt_nats, 2),
        **_channel(piece.channel),
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
        **_channel(segment.channel),
    }


def _channel(channel: int | None) -> dict[str, int]:
    return {} if channel is None else {"channel": channel}
