"""Decoding of a session's turns: each is a request, and while one speaks, so is what is there of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from server.engine.messages import Reply, Request
from server.errors import fault
from server.keys.quotas import charged_s
from server.realtime.agreement import Agreement
from server.realtime.events import new_id, server_event
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.errors import SsvdError

Event = dict[str, Any]

MAX_PENDING = 4  # turns of one session that are being decoded; a client that sends faster waits


@dataclass(eq=False)
class Turn:
    """A turn of a session, from its first sample to its transcript."""

    item_id: str = field(default_factory=lambda: new_id("item"))
    agreement: Agreement = field(default_factory=Agreement)
    early: asyncio.Task[None] | None = None
    decoded: int = 0  # samples that the last early decoding had
    charged_s: int = 0  # seconds that its client was charged for
    charging: asyncio.Lock = field(default_factory=asyncio.Lock)  # held until a charge is made or refused

    @property
    def is_being_decoded(self) -> bool:
        """Whether an early decoding goes on."""
        return self.early is not None and not self.early.done()

    def stop_early(self) -> None:
        """Give up the early decoding."""
        if self.early is not None:
            self.early.cancel()


class TurnDecoder:
    """Decodes the turns of one session, and sends what they say."""

    def __init__(
        self,
        send: Callable[[Event], Awaitable[None]],
        submit: Callable[[Request, int], Future[Reply]],
        told: Callable[[Reply, bool], Event],
        error_of: Callable[[SsvdError], Event],
    ) -> None:
        """See LiveSession."""
        self._send, self._submit, self._told, self._error_of = send, submit, told, error_of
        self._pending = asyncio.Semaphore(MAX_PENDING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, turn: Turn, request: Request, then: Callable[[Request, Reply], None]) -> None:
        """Begin to decode a whole turn, once there is room. `then` is called when it is completed."""
        await self._pending.acquire()
        self._start(self._complete(turn, request, then))

    def begin_early(self, turn: Turn, request: Request) -> None:
        """Begin to decode what is there of an open turn."""
        turn.early = self._start(self._tell_early(turn, replace(request, scores_tokens=False)))

    async def finish(self) -> None:
        """Wait for the turns that are being decoded."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Give up all turns."""
        for task in self._tasks:
            task.cancel()
        await self.finish()

    async def _complete(self, turn: Turn, request: Request, then: Callable[[Request, Reply], None]) -> None:
        try:
            reply = await self._decode(turn, request, charged_s(len(request.wave) / SAMPLE_RATE))
            rest = turn.agreement.end(reply.text)
            if rest:
                await self._tell("delta", turn, delta=rest)
            fields = self._told(reply, request.scores_tokens)
            if turn.agreement.told != reply.text:
                fields["ssvd"]["decoded_at_once"] = reply.text
            await self._tell("completed", turn, transcript=turn.agreement.told, **fields)
            then(request, reply)
        except SsvdError as error:
            await self._tell("failed", turn, error=self._error_of(error))
        except Exception as error:
            await self._tell("failed", turn, error=self._error_of(fault(error)))
        finally:
            self._pending.release()

    async def _tell_early(self, turn: Turn, request: Request) -> None:
        try:
            reply = await self._decode(turn, request, len(request.wave) // SAMPLE_RATE)
        except Exception:
            return  # the whole turn's decoding tells what is wrong
        new = turn.agreement.update(reply.text)
        if new:
            await self._tell("delta", turn, delta=new)

    async def _decode(self, turn: Turn, request: Request, seconds: int) -> Reply:
        """Return the reply, and charge for those of the turn's seconds that are not charged yet.

        Early text is charged for as it comes: a client that then clears the buffer has had it. Cancelling
        this cancels the request.
        """
        submitting = asyncio.ensure_future(self._charged(turn, request, seconds))
        try:
            future = await asyncio.shield(submitting)
        except asyncio.CancelledError:  # the thread goes on, and nobody would know its request
            submitting.add_done_callback(_give_up)
            raise
        return await asyncio.wrap_future(future)

    async def _charged(self, turn: Turn, request: Request, seconds: int) -> Future[Reply]:
        """Queue a request. Only what was accepted before counts as charged, and not what may be refused."""
        async with turn.charging:
            new_s = max(0, seconds - turn.charged_s)
            future = await run_in_threadpool(self._submit, request, new_s)
            turn.charged_s += new_s
            return future

    async def _tell(self, kind: str, turn: Turn, **fields: Any) -> None:
        name = f"conversation.item.input_audio_transcription.{kind}"
        await self._send(server_event(name, item_id=turn.item_id, content_index=0, **fields))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _give_up(submitting: asyncio.Future[Future[Reply]]) -> None:
    if not submitting.cancelled() and submitting.exception() is None:
        submitting.result().cancel()
