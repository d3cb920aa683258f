"""One live session: audio comes in events, turns are found in it, and their text goes out in events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.concurrency import run_in_threadpool

from server.engine.messages import Reply, Request
from server.errors import ApiError
from server.realtime.audio_input import AudioInput
from server.realtime.config import SessionConfig
from server.realtime.decoding import Turn, TurnDecoder
from server.realtime.events import (
    Append,
    Clear,
    Commit,
    EventError,
    SessionUpdate,
    Transcription,
    item_of,
    new_id,
    read_event,
    server_event,
)
from server.realtime.held import HeldAudio
from server.realtime.turns import Started, Stopped, TurnDetector
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.errors import SsvdError

FloatArray = npt.NDArray[np.float32]
Event = dict[str, Any]

MIN_COMMIT_S = 0.1  # as OpenAI's: less is a mistake of the client
SECONDS_DIGITS = 6  # after the point: a sample of any format is longer
CHUNK = SAMPLE_RATE  # samples that are searched for turns at a time


@dataclass(frozen=True)
class LiveLimits:
    """longest_turn_s: then a turn ends. step_s: how much new audio is decoded again while one speaks."""

    longest_turn_s: float
    step_s: float


class LiveSession:
    """The events of one client in, the server's out. Used on one event loop."""

    def __init__(
        self,
        send: Callable[[Event], Awaitable[None]],
        submit: Callable[[Request, int], Future[Reply]],
        plan: Callable[[Transcription, bool], Request],
        told: Callable[[Reply, bool], Event],
        error_of: Callable[[SsvdError], Event],
        busy: Callable[[], bool],
        limits: LiveLimits,
        config: SessionConfig,
    ) -> None:
        """Take what the session does through others.

        Args:
            submit: queues a request and charges its client for so many seconds; it blocks. Raises as
                Engine.submit does, and ApiError.
            plan: returns a request without audio for what the client wants; the flag asks for tokens. Raises
                ApiError or SsvdError.
            told: returns the fields that a completed turn has beside its transcript, `ssvd` among them.
            busy: whether requests wait for the device. Early text then waits, so that it delays nobody.
            error_of: returns an error in OpenAI's shape: message, type, param, code.
        """
        self.id = new_id("sess")
        self._send, self._plan, self._error_of = send, plan, error_of
        self._busy, self._limits = busy, limits
        self._decoder = TurnDecoder(send, submit, told, error_of)
        self._config = config
        self._request = plan(config.transcription, config.scores_tokens)
        self._input = AudioInput(config.format.type)
        self._heard = 0  # samples since the session began
        self._detector = self._new_detector()
        self._buffer = HeldAudio()  # of a session whose client commits
        self._turn: Turn | None = None
        self._last_item: str | None = None

    async def begin(self) -> None:
        """Tell the client the session's settings."""
        await self._send(server_event("session.created", session=self._config.as_json(self.id)))

    async def handle(self, message: str) -> None:
        """Act on one event of the client. What is wrong with it is told, and the session goes on."""
        event_id = None
        try:
            event = read_event(message)
            event_id = event.event_id
            if isinstance(event, SessionUpdate):
                await self._update(event)
            elif isinstance(event, Append):
                await self._append(event)
            elif isinstance(event, Commit):
                await self._commit()
            elif isinstance(event, Clear):
                await self._clear()
        except SsvdError as error:
            named = error.event_id if isinstance(error, EventError) else event_id
            await self._send(server_event("error", error={**self._error_of(error), "event_id": named}))

    async def close(self) -> None:
        """Give up all turns. Nothing of the session is decoded after this."""
        await self._decoder.close()

    async def finish(self) -> None:
        """Wait for the turns that are being decoded."""
        await self._decoder.finish()

    async def _update(self, event: SessionUpdate) -> None:
        config, before = self._config.changed(event.session), self._config
        changed_format = config.format.type != before.format.type
        changed_turns = config.turn_detection != before.turn_detection
        if self._turn is not None and (changed_format or changed_turns):
            name = "format" if changed_format else "turn_detection"
            raise ApiError(
                400, f"{name} cannot change while audio is in the buffer; commit or clear it",
                code="invalid_value", param=f"session.audio.input.{name}",
            )  # fmt: skip
        request = await run_in_threadpool(self._plan, config.transcription, config.scores_tokens)
        # Nothing has changed up to here, so an update is done whole or not at all.
        if config.transcription == before.transcription:  # a domain that was chosen stays
            request = replace(self._request, scores_tokens=config.scores_tokens)
        self._request, self._config = request, config
        if changed_format:
            self._input = AudioInput(config.format.type)
        if changed_turns:
            await self._drop_open_audio()
            self._detector = self._new_detector()
        await self._send(server_event("session.updated", session=config.as_json(self.id)))

    def _new_detector(self) -> TurnDetector | None:
        rule = self._config.turn_rule
        return None if rule is None else TurnDetector(rule, self._limits.longest_turn_s, self._heard)

    async def _append(self, event: Append) -> None:
        wave = await run_in_threadpool(self._input.decode, event.audio)
        if self._detector is None:
            self._add(wave)
        for start in range(0, len(wave) if self._detector is not None else 0, CHUNK):
            assert self._detector is not None
            for happened in await run_in_threadpool(self._detector.hear, wave[start : start + CHUNK]):
                if isinstance(happened, Started):
                    await self._started(happened)
                else:
                    await self._stopped(happened)
        self._heard += len(wave)
        self._decode_again()

    def _add(self, wave: FloatArray) -> None:
        """Add audio to the buffer of a client that commits. Raises ApiError where it is full."""
        if not len(wave):
            return
        held_s = (len(self._buffer) + len(wave)) / SAMPLE_RATE
        if held_s > self._limits.longest_turn_s:
            raise ApiError(
                400, f"the buffer would hold {_exact(held_s)} s: the limit is "
                f"{self._limits.longest_turn_s:g} s "
                "(SSVD_REALTIME_MAX_TURN_S); commit or clear it",
                code="input_audio_buffer_full", param="audio",
            )  # fmt: skip
        self._buffer.add(wave)
        if self._turn is None:
            self._turn = Turn()

    async def _started(self, started: Started) -> None:
        self._turn = Turn()
        await self._send(
            server_event(
                "input_audio_buffer.speech_started",
                audio_start_ms=started.at * 1000 // SAMPLE_RATE, item_id=self._turn.item_id,
            )
        )  # fmt: skip

    async def _stopped(self, stopped: Stopped) -> None:
        assert self._turn is not None
        await self._send(
            server_event(
                "input_audio_buffer.speech_stopped",
                audio_end_ms=stopped.at * 1000 // SAMPLE_RATE, item_id=self._turn.item_id,
            )
        )  # fmt: skip
        await self._transcribe(stopped.wave)

    async def _commit(self) -> None:
        held = self._buffer if self._detector is None else self._detector
        held_s = round(self._input.held_s + len(held) / SAMPLE_RATE, SECONDS_DIGITS)  # sums of floats
        if held_s < MIN_COMMIT_S:  # and it stays, so that the client may add to it
            raise ApiError(
                400, f"the buffer holds {_exact(held_s)} s: at least {MIN_COMMIT_S:g} s are needed",
                code="input_audio_buffer_commit_empty",
            )  # fmt: skip
        rest = await run_in_threadpool(self._input.flush)
        self._heard += len(rest)
        if self._detector is None:
            wave = np.concatenate([self._buffer.wave, rest])
            self._buffer = HeldAudio()
        else:
            wave = self._detector.end(rest)
        await self._transcribe(wave)

    async def _clear(self) -> None:
        await self._drop_open_audio()
        self._input.forget_half()
        await self._send(server_event("input_audio_buffer.cleared"))

    async def _drop_open_audio(self) -> None:
        if self._turn is not None:
            self._turn.stop_early()
        self._turn, self._buffer = None, HeldAudio()
        rest = await run_in_threadpool(self._input.flush)
        if self._detector is not None:
            self._detector.end(rest)
        self._heard += len(rest)

    async def _transcribe(self, wave: FloatArray) -> None:
        """Commit the open turn with its audio (n,), and begin to decode it."""
        turn = self._turn or Turn()
        turn.stop_early()
        self._turn = None
        before, self._last_item = self._last_item, turn.item_id
        item = item_of(turn.item_id)
        for event in (
            server_event("input_audio_buffer.committed", item_id=turn.item_id, previous_item_id=before),
            server_event("conversation.item.added", item=item, previous_item_id=before),
            server_event("conversation.item.done", item=item, previous_item_id=before),
        ):
            await self._send(event)
        await self._decoder.begin(turn, replace(self._request, wave=wave), self._keep_choice)

    def _keep_choice(self, request: Request, reply: Reply) -> None:
        """Decode the rest of the session in the domain that was chosen for a turn, as for one recording."""
        if request.auto is not None and request.auto == self._request.auto and reply.chosen:
            self._request = replace(self._request, auto=None, domain=reply.provenance.pinned)

    def _decode_again(self) -> None:
        """Decode the open turn once more, if enough audio is new and nothing of it is being decoded."""
        turn = self._turn
        if turn is None or self._request.auto is not None:  # no words before the domain is chosen
            return
        if self._busy() or turn.is_being_decoded:
            return
        held = self._buffer if self._detector is None else self._detector
        if len(held) - turn.decoded < self._limits.step_s * SAMPLE_RATE:
            return
        wave = held.wave
        turn.decoded = len(wave)
        self._decoder.begin_early(turn, replace(self._request, wave=wave))


def _exact(seconds: float) -> str:
    """Return seconds with as many digits as tell them from a limit that they are a sample off."""
    return f"{seconds:.{SECONDS_DIGITS}f}".rstrip("0").rstrip(".")
