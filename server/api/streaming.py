"""Streamed replies: OpenAI's server-sent events, the text of early pieces while later ones are decoded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from server.api.form import UNTIMED, AudioForm
from server.api.refusals import error_of
from server.api.replies import language_fields, logprob_fields, ssvd_fields
from server.api.watch import note_client_left, note_refusal, note_reply
from server.engine.messages import Decoded, Reply
from server.errors import fault, late
from server.reply_fields import timed_fields
from ssvd_asr.errors import SsvdError
from ssvd_asr.writing import joined_texts

PING_S = 15  # a comment is sent so often, so that nothing on the way takes the connection for dead


class PieceStream:
    """The pieces of one request in order, from the device's thread to the event loop."""

    def __init__(self) -> None:
        """Belongs to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[Decoded | None] = asyncio.Queue()

    def put(self, piece: Decoded | None) -> None:
        """Add a piece, or None for the end. Thread-safe."""
        with suppress(RuntimeError):  # the loop has ended, and nobody reads
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

    async def pieces(self, until: float) -> AsyncIterator[Decoded]:
        """Yield the pieces as they come. Raises TimeoutError for one after `until` of the loop's time.

        The device has to be in time, and not a client that reads slowly.
        """
        while True:
            async with asyncio.timeout_at(until):
                piece = await self._pieces.get()
            if piece is None:
                return
            yield piece


class StreamedReply(EventSourceResponse):
    """Cancels its request when it ends, also where the client left before the first event was made.

    `held` is closed then: what belongs to the request as long as it runs.
    """

    future: Future[Reply]
    held: ExitStack
    complete: asyncio.Event  # its last event was made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.future.cancel()  # without effect if the reply is there
            self.held.close()
            if not self.complete.is_set():
                note_client_left(scope)


def stream_reply(
    future: Future[Reply], stream: PieceStream, form: AudioForm, timeout_s: float, scope: Scope
) -> StreamedReply:
    """Return the response to a request whose pieces come through `stream`.

    It ends with the event transcript.text.done, or with an error in OpenAI's shape. A client that leaves
    cancels the request.
    """
    future.add_done_callback(lambda _: stream.put(None))
    complete = asyncio.Event()
    response = StreamedReply(_lines(future, stream, form, timeout_s, scope, complete), ping=PING_S)
    response.future, response.held, response.complete = future, ExitStack(), complete
    return response


async def _lines(
    future: Future[Reply],
    stream: PieceStream,
    form: AudioForm,
    timeout_s: float,
    scope: Scope,
    complete: asyncio.Event,
) -> AsyncIterator[dict[str, str]]:
    until = asyncio.get_running_loop().time() + timeout_s
    try:
        told = _Told()
        async for piece in stream.pieces(until):
            for event in _events_of(piece, form, told):
                yield _line(event)
        reply = future.result()
        note_reply(scope, reply)
        last = _line(_done(reply, form))
    except TimeoutError:
        last = _error(late(timeout_s), scope)
    except SsvdError as error:
        last = _error(error, scope)
    except Exception as error:  # the status is sent already: without an event the stream would just end
        last = _error(fault(error), scope)
    complete.set()  # before it is sent: the client may close the connection as soon as it has it
    yield last


def _error(error: SsvdError, scope: Scope) -> dict[str, str]:
    _, body = error_of(error)
    note_refusal(scope, body["error"]["code"])
    return _line(body)


class _Told:
    """What has been told in one stream."""

    text = ""
    segments = 0


def _events_of(piece: Decoded, form: AudioForm, told: _Told) -> list[dict[str, Any]]:
    """Return the events of one piece: its text, and its segments where times are asked for."""
    text = piece.text.strip()
    if not text:
        return []
    before, told.text = told.text, joined_texts((told.text, text))
    delta = told.text.removeprefix(before)
    tokens = logprob_fields(piece.tokens, first=not before) if form.scores_tokens else {}
    events: list[dict[str, Any]] = [{"type": "transcript.text.delta", "delta": delta, **tokens}]
    for segment in () if form.format in UNTIMED else piece.segments:
        events.append(
            {
                "type": "transcript.text.segment",
                "id": f"seg_{told.segments}",
                "start": round(segment.start_s, 3),
                "end": round(segment.end_s, 3),
                "speaker": "",  # the type requires it, and speakers are not told apart
                "text": segment.text,
            }
        )
        told.segments += 1
    return events


def _done(reply: Reply, form: AudioForm) -> dict[str, Any]:
    used = reply.usage
    heard = used.audio_tokens + used.prompt_tokens
    return {
        "type": "transcript.text.done",
        "text": reply.text,
        **(language_fields(reply) if form.tells_language else {}),
        **(logprob_fields(reply.tokens) if form.scores_tokens else {}),
        "usage": {
            "type": "tokens",
            "input_tokens": heard,
            "output_tokens": used.said_tokens,
            "total_tokens": heard + used.said_tokens,
            "input_token_details": {"audio_tokens": used.audio_tokens, "text_tokens": used.prompt_tokens},
        },
        **({} if form.format in UNTIMED else timed_fields(reply, form.granularities)),
        "ssvd": ssvd_fields(reply),
    }


def _line(event: dict[str, Any]) -> dict[str, str]:
    return {"data": json.dumps(event, ensure_ascii=False)}
