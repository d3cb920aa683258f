"""A stream ends with `done` or an error, however slowly it is read, and nothing goes on when it has ended."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from typing import Any

from server.api.form import TranscriptionForm
from server.api.streaming import PieceStream, stream_reply
from server.api.watch import CLIENT_LEFT, NOTES
from server.engine.messages import Decoded, Reply
from ssvd_asr.errors import SsvdError

FORM = TranscriptionForm()
PIECE = Decoded(text="early words", segments=())


async def streamed(
    future: Future[Reply],
    *pieces: Decoded,
    timeout_s: float = 5.0,
    leaves: bool = False,
    slow_s: float = 0.0,
    notes: dict[str, Any] | None = None,
) -> list[Any]:
    """The events that a client gets which leaves at once, or needs a while for the beginning."""
    found: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if leaves:
            await asyncio.Event().wait()  # nobody reads
        await asyncio.sleep(slow_s)
        if message["type"] == "http.response.body" and (body := message["body"].decode().strip()):
            found.append(json.loads(body.removeprefix("data: ")))

    stream = PieceStream()
    for piece in pieces:
        stream.put(piece)
    await asyncio.sleep(0)  # they are there
    scope = {"type": "http", "method": "POST", NOTES: {} if notes is None else notes}
    response = stream_reply(future, stream, FORM, timeout_s, scope)
    await response(scope, receive, send)  # type: ignore[arg-type]
    return found


def test_a_client_that_leaves_before_the_first_event_cancels_its_request() -> None:
    future: Future[Reply] = Future()
    assert asyncio.run(streamed(future, leaves=True)) == []
    assert future.cancelled()


def test_a_client_that_leaves_a_stream_is_counted_as_one_and_an_answer_to_its_end_is_not() -> None:
    """It was counted as a success: the status is sent before the first event."""
    notes: dict[str, Any] = {"status": 200}
    asyncio.run(streamed(Future(), PIECE, leaves=True, notes=notes))
    assert notes["status"] == CLIENT_LEFT
    future: Future[Reply] = Future()
    future.set_exception(SsvdError("the model broke"))
    notes = {"status": 200}
    asyncio.run(streamed(future, notes=notes))
    assert notes["status"] == 200


def test_a_stream_whose_time_is_over_says_so() -> None:
    future: Future[Reply] = Future()
    assert asyncio.run(streamed(future, timeout_s=0.01))[0]["error"]["code"] == "deadline_exceeded"
    assert future.cancelled()


def test_the_time_of_a_request_is_not_that_of_a_slow_reader() -> None:
    future: Future[Reply] = Future()
    future.set_exception(SsvdError("the model broke"))
    found = asyncio.run(streamed(future, PIECE, timeout_s=0.05, slow_s=0.1))
    assert found[0]["delta"] == "early words"
    assert found[-1]["error"]["message"] == "the model broke"


def test_a_bug_ends_a_stream_with_an_error() -> None:
    future: Future[Reply] = Future()
    future.set_exception(RuntimeError("a bug"))
    (event,) = asyncio.run(streamed(future))
    assert event["error"]["code"] == "internal_error"
    assert event["error"]["type"] == "server_error"
