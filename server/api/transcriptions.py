"""Routes that transcribe an upload, or translate it: POST /v1/audio/transcriptions and /translations."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from server.aliases import aliased
from server.api.form import (
    UNTIMED,
    AudioForm,
    TranscriptionForm,
    TranslationForm,
    open_form,
    request_schema,
)
from server.api.naming import wanted_domain
from server.api.replies import render
from server.api.streaming import PieceStream, stream_reply
from server.auto.wish import AutoWish, wish_of
from server.engine.each_channel import submit_recording
from server.engine.messages import Reply
from server.engine.messages import Request as Transcription
from server.errors import ApiError, late
from server.languages import AUTO, language_symbol, requested_language
from server.progress import REQUEST_ID_HEADER, Pieces
from server.state import ServerState, state_of
from ssvd_asr.audio.read import read_recording
from ssvd_asr.base.prompt import RECOGNITION, TO_ENGLISH

router = APIRouter()

CLIENT_LEFT = 499  # for the access log only, as in nginx: the client is gone


# With a slash too: clients send their upload twice after a redirect, or take its empty body for a text.
@router.post("/v1/audio/transcriptions/", include_in_schema=False)
@router.post("/v1/audio/transcriptions", openapi_extra=request_schema(TranscriptionForm))
async def transcribe(request: Request) -> Response:
    """Transcribe one file in one domain. The request and reply are OpenAI's, with `domain` beside `model`."""
    return await _answer(request, TranscriptionForm)


@router.post("/v1/audio/translations/", include_in_schema=False)
@router.post("/v1/audio/translations", openapi_extra=request_schema(TranslationForm))
async def translate(request: Request) -> Response:
    """Translate one file to English in one domain, where the base was trained for that."""
    return await _answer(request, TranslationForm)


@router.get("/v1/progress/{request_id}")
async def progress(request_id: str, request: Request) -> dict[str, int]:
    """Return how many pieces a running request has, and how many of them are decoded."""
    pieces = state_of(request).progress.find(request_id)
    return {"pieces": pieces.total, "pieces_done": pieces.done}


async def _answer(request: Request, kind: type[AudioForm]) -> Response:
    state = state_of(request)
    with state.progress.of(request.headers.get(REQUEST_ID_HEADER)) as pieces:
        return await _transcribe(request, state, pieces, kind)


async def _transcribe(
    request: Request, state: ServerState, pieces: Pieces, kind: type[AudioForm]
) -> Response:
    async with open_form(request, kind) as (file, form):
        _check_task(form, state)
        _check_prompt(form.prompt, state)
        model = aliased(state.settings.aliases, form.model)
        domain = wanted_domain(state.engine.recogniser.name, model, form.domain)
        auto = _wish(domain, form)
        if auto is not None:
            domain = None
        elif domain is not None:
            await _fetch(state, domain)
        stream = PieceStream() if form.streams else None
        async with state.decoders:
            future = await run_in_threadpool(_submit, state, file, form, domain, auto, pieces, stream)
    if stream is not None:
        return stream_reply(future, stream, form, state.engine.request_timeout_s)
    reply = await _unless_client_leaves(request, future, state.engine.request_timeout_s)
    return Response(status_code=CLIENT_LEFT) if reply is None else render(reply, form)


def _check_task(form: AudioForm, state: ServerState) -> None:
    """Raise ApiError for a translation that the base cannot make."""
    base = state.engine.recogniser
    if form.translates and not base.translates:
        raise ApiError(
            422, f"base {base.name} was not trained to translate; serve one that was, as openai/whisper-base",
            code="translation_unsupported", param="model",
        )  # fmt: skip


def _check_prompt(prompt: str, state: ServerState) -> None:
    """Raise ApiError for a prompt that the base does not support, or that would slow down the whole batch."""
    base, limit = state.engine.recogniser, state.settings.max_prompt_chars
    if prompt.strip() and not base.knows_previous_text:
        raise ApiError(
            422, f"base {base.name} was trained without previous texts, and hears worse with one: omit it",
            code="prompt_unsupported", param="prompt",
        )  # fmt: skip
    if len(prompt) > limit:
        raise ApiError(
            422, f"prompt has {len(prompt)} characters: the limit is {limit} (SSVD_MAX_PROMPT_CHARS)",
            code="prompt_too_long", param="prompt",
        )  # fmt: skip


def _wish(domain: str | None, form: AudioForm) -> AutoWish | None:
    """Return what a request leaves to the server. Raises ApiError, and as wish_of does."""
    wish = wish_of(domain, form.auto_mode)
    if wish is None and form.auto is not None:
        raise ApiError(400, "auto goes with domain=auto", code="contradiction", param="auto")
    return wish


async def _fetch(state: ServerState, domain: str) -> None:
    """Wait until the domain is in memory. This comes before a decoder is held, which other requests need.

    Raises as Domains.lease does.
    """
    domains = state.engine.domains
    if not await run_in_threadpool(domains.at_hand, domain):
        await to_thread.run_sync(domains.fetch, domain, limiter=state.fetchers)


def _submit(
    state: ServerState,
    file: UploadFile,
    form: AudioForm,
    domain: str | None,
    auto: AutoWish | None,
    pieces: Pieces,
    stream: PieceStream | None,
) -> Future[Reply]:
    """Decode the upload and queue it. This blocks, so run it in a thread."""
    settings = state.settings
    wanted = AUTO if form.leaves_language_open else form.language or next(iter(form.languages), None)
    language, warnings = requested_language(
        wanted, settings.language, state.engine.recogniser.identifies_language
    )
    among = tuple(language_symbol(each) for each in form.languages)
    recording = read_recording(file.file, settings.audio_limits, channel=form.chosen_channel)
    return submit_recording(
        state.engine,
        recording,
        Transcription(
            wave=recording.waves[0],
            domain=domain,
            language=language,
            timestamps=form.format not in UNTIMED,
            previous_text=form.prompt.strip() or None,
            cut_rule=form.cut_rule,
            warnings=warnings,
            on_progress=pieces.note,
            on_piece=None if stream is None else stream.put,
            task=TO_ENGLISH if form.translates else RECOGNITION,
            languages=among,
            scores_tokens=form.scores_tokens,
            keywords=form.given_words,
            auto=auto,
            hint=domain is not None and settings.hints_for(form.format),
        ),
    )


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
