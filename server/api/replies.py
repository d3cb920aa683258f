"""Replies in the formats of OpenAI's API. Each names the base and adapter that made it (promise 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from fastapi.responses import JSONResponse, PlainTextResponse, Response

from server.api.form import AudioForm
from server.engine.messages import Provenance, Reply, SaidToken
from server.reply_fields import auto_fields, channel_fields, decoding_fields, provenance_fields, timed_fields
from server.subtitles import subtitles
from ssvd_asr.languages import two_letters

PROVENANCE_HEADERS = {  # by field of Provenance
    "base": "X-SSVD-Base",
    "base_digest": "X-SSVD-Base-Digest",
    "domain": "X-SSVD-Domain",
    "adapter_version": "X-SSVD-Adapter-Version",
    "adapter_sha256": "X-SSVD-Adapter-SHA256",
    "parts": "X-SSVD-Parts",
}


def render(reply: Reply, form: AudioForm) -> Response:
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
    if form.tells_language:
        body |= language_fields(reply)
    if kind == "verbose_json":
        body |= timed_fields(reply, form.granularities)
        if form.translates:
            body |= {"task": "translate", "language": "english"}  # of the text, as OpenAI has it
    body |= channel_fields(reply)
    if form.scores_tokens:
        body |= logprob_fields(reply.tokens)
    seconds = reply.duration_s * max(1, len(reply.channels))  # of audio that was decoded
    body["usage"] = {"type": "duration", "seconds": round(seconds, 3)}
    body["ssvd"] = ssvd_fields(reply)
    return JSONResponse(body, headers=headers)


def ssvd_fields(reply: Reply) -> dict[str, Any]:
    """Return the field `ssvd`: what made the reply, how, and what is doubtful in it."""
    return {
        **provenance_fields(reply.provenance),
        "decoding": [decoding_fields(each) for each in reply.decoding],
        "warnings": list(reply.warnings),
        **auto_fields(reply),
    }


def language_fields(reply: Reply) -> dict[str, Any]:
    """Return the field `languages`: those that were heard; empty if nothing was."""
    heard = dict.fromkeys(each.language.strip("<>") for each in reply.decoding)
    return {"languages": [{"code": two_letters(code)} for code in heard]}


def logprob_fields(tokens: Sequence[SaidToken], *, first: bool = True) -> dict[str, Any]:
    """Return the field `logprobs`. first: whether the tokens begin a text, which has no space there."""
    found = []
    for place, token in enumerate(tokens):
        data = token.data.lstrip(b" ") if first and place == 0 else token.data
        text = data.decode(errors="replace")
        found.append({"token": text, "bytes": list(data), "logprob": round(token.log_prob, 5)})
    return {"logprobs": found}


def provenance_headers(provenance: Provenance) -> dict[str, str]:
    """Return X-SSVD-Base, -Base-Digest, and with a domain -Domain, -Adapter-Version, -Adapter-SHA256.

    A blend has X-SSVD-Parts in place of the version.
    """
    values = asdict(provenance)
    values["parts"] = ", ".join(
        f"{part.domain}@{part.adapter_version}*{part.weight:g} sha256:{part.adapter_sha256}"
        for part in provenance.parts
    )
    # Headers take ASCII only, and the name of a base may be a path with any characters.
    return {
        header: quote(str(values[field]), safe=" /:@*+,")
        for field, header in PROVENANCE_HEADERS.items()
        if values[field] not in (None, "")
    }
