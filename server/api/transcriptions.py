"""Routes that transcribe an upload, or translate it: POST /v1/audio/transcriptions and /translations."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from server.api.asking import request_for
from server.api.documented import KEY, refusals, transcript
from server.api.form import UNTIMED, AudioForm, TranscriptionForm, TranslationForm
from server.api.form_reading import open_form
from server.api.form_schema import request_schema
from server.api.gate import caller_of
from server.api.parameters import STRICT
from server.api.replies import render
from server.api.streaming import PieceStream, StreamedReply, stream_reply
from server.api.watch import CLIENT_LEFT, note_reply, note_stage
from server.engine.each_channel import submit_recording
from server.engine.messages import Reply
from server.engine.messages import Request as Transcription
from server.errors import late
from server.keys.quotas import charged_s
from server.progress import REQUEST_ID_HEADER, Pieces
from server.state import ServerState, state_of
from ssvd_asr.audio.read import SAMPLE_RATE, read_recording

router = APIRouter(dependencies=[KEY])

REFUSALS = refusals(400, 404, 413, 415, 422, 429, 500, 503, 504, 507)
EVENTS = "text/event-stream"
TEXTS = ("text/plain", "text/vtt")


# With a slash too: clients send their upload twice after a redirect, or take its empty body for a text.
@router.post("/v1/audio/transcriptions/", include_in_schema=False)
@router.post(
    "/v1/audio/transcriptions",
    openapi_extra=request_schema(TranscriptionForm),
    responses=REFUSALS | transcript(*TEXTS, EVENTS),
)
async def transcribe(request: Request) -> Response:
    """Transcribe one file in one domain. The request and reply are OpenAI's, with `domain` beside `model`."""
    return await _answer(request, TranscriptionForm)


@router.post("/v1/audio/translations/", include_in_schema=False)
@router.post(
    "/v1/audio/translations",
    openapi_extra=request_schema(TranslationForm),
    responses=REFUSALS | transcript(*TEXTS),
)
async def translate(request: Request) -> Response:
    """Translate one file to English in one domain, where the base was trained for that."""
    return await _answer(request, TranslationForm)


@router.get("/v1/progress/{request_id}", dependencies=STRICT, responses=refusals(400, 404))
async def progress(request_id: str, request: Request) -> dict[str, int]:
    """Return how many pieces a running request has, and how many of them are decoded."""
    pieces = state_of(request).progress.find(request_id)
    return {"pieces": pieces.total, "pieces_done": pieces.done}


async def _answer(request: Request, kind: type[AudioForm]) -> Response:
    state = state_of(request)
    with ExitStack() as held:
        pieces = held.enter_context(state.progress.of(request.headers.get(REQUEST_ID_HEADER)))
        response = await _transcribe(request, state, pieces, kind)
        if isinstance(response, StreamedReply):
            response.held = held.pop_all()  # its pieces are decoded while it is sent
        return response


async def _transcribe(
    request: Request, state: ServerState, pieces: Pieces, kind: type[AudioForm]
) -> Response:
    caller = caller_of(request)
    began_s = time.monotonic()
    async with open_form(request, kind) as (file, form):
        note_stage(request.scope, "receive", began_s)
        state.quotas.check(caller)
        # In a thread: hundreds of keywords take tens of milliseconds to spell.
        wanted = await run_in_threadpool(request_for, state, form.asked, caller)
        if wanted.domain is not None:
            await _fetch(state, wanted.domain, wanted.hidden)
        stream = PieceStream() if form.streams else None
        wanted = replace(
            wanted,
            timestamps=form.format not in UNTIMED,
            cut_rule=form.cut_rule,
            hint=wanted.domain is not None and state.settings.hints_for(form.format),
            on_progress=pieces.note,
            on_piece=None if stream is None else stream.put,
        )
        async with state.intake.turn(file.size or 0):
            future = await run_in_threadpool(_submit, request, state, file, form, wanted)
    if stream is not None:
        return stream_reply(future, stream, form, state.engine.request_timeout_s, request.scope)
    reply = await _unless_client_leaves(request, future, state.engine.request_timeout_s)
    if reply is None:
        return Response(status_code=CLIENT_LEFT)
    note_reply(request.scope, reply)
    return render(reply, form)


async def _fetch(state: ServerState, domain: str, hidden: frozenset[str]) -> None:
    """Wait until the domain is in memory. This comes before a place to decode is held, which others need.

    Raises as Domains.lease does.
    """
    domains = state.engine.domains
    if not await run_in_threadpool(domains.at_hand, domain, hidden):
        await to_thread.run_sync(domains.fetch, domain, limiter=state.fetchers)


def _submit(
    request: Request, state: ServerState, file: UploadFile, form: AudioForm, wanted: Transcription
) -> Future[Reply]:
    """Decode the upload, queue it and charge the caller for it. This blocks, so run it in a thread."""
    began_s = time.monotonic()
    recording = read_recording(file.file, state.settings.audio_limits, channel=form.chosen_channel)
    note_stage(request.scope, "decode audio", began_s)
    seconds = sum(map(len, recording.waves)) / SAMPLE_RATE
    with state.quotas.charging(caller_of(request), charged_s(seconds)):
        return submit_recording(state.engine, recording, wanted)


async def _unless_client_leaves(request: Request, future: Future[Reply], timeout_s: float) -> Reply | None:
    """Return the reply, or cancel the request and return None if the client disconnects.

    Raises DeadlineError when the time is over, whatever the device is doing.
    """
    answer = asyncio.wrap_future(future)
    gone = asyncio.create_task(_disconnected(request))
    either: set[asyncio.Future[Any]] = {answer, gone}
    try:
        done, _ = await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise late(timeout_s)
        return await answer if answer.done() else None
    finally:
        answer.cancel()  # reaches the engine; no effect if the answer is there
        gone.cancel()


async def _disconnected(request: Request) -> None:
    """Return when the client has closed the connection. The body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
