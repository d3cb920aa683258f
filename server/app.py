"""App factory: builds the FastAPI app from settings. All state is kept in the app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from adapters_store.store import AdapterStore
from server.api import catalogue, health, refusals, transcriptions
from server.api.body_limit import BodyLimit
from server.bank.bank import Bank
from server.domains import Domains
from server.engine.engine import Engine
from server.engine.recogniser import OwsmRecogniser, Recogniser, Search
from server.engine.threads import use_threads
from server.samples import Samples
from server.settings import ServerSettings, load_settings
from server.state import ServerState
from ssvd_asr.device import slow_in
from ssvd_asr.version import __version__

logger = logging.getLogger(__name__)

UI_PATH = "/ui"
FETCHERS = 64  # threads that only wait for a disk, apart from those that compute


def open_store(settings: ServerSettings) -> AdapterStore:
    """Open the store that the settings name."""
    return AdapterStore(settings.store)


def start_engine(settings: ServerSettings) -> Engine:
    """Load the base and start the engine that the server and `ssvd transcribe` both run.

    Side effect: sets the number of torch threads of the process (see use_threads).

    Raises BaseModelError or SsvdError if the base cannot be loaded.
    """
    threads = use_threads(settings.threads)
    recogniser = OwsmRecogniser.load(
        settings.base,
        device=settings.device,
        dtype=settings.dtype,
        hot_max_bytes=settings.hot_max_bytes,
        search=Search(settings.beam_size, settings.ctc_weight, settings.times),
        compression=settings.compression,
        basis_share=settings.basis_share,
    )
    on_cpu = recogniser.device.type == "cpu"
    dtype = str(recogniser.dtype).removeprefix("torch.")
    logger.info("%s on %s in %s%s", recogniser.name, recogniser.device, dtype,
                f", {threads} threads" if on_cpu else "")  # fmt: skip
    if slow_in(recogniser.dtype, recogniser.device):
        logger.warning("this CPU has no instructions for bfloat16: float32 is faster here (SSVD_DTYPE)")
    return engine_over(recogniser, settings, open_store(settings))


def engine_over(recogniser: Recogniser, settings: ServerSettings, store: AdapterStore) -> Engine:
    """Start an engine with an empty bank."""
    bank = Bank(
        recogniser,
        max_bytes=settings.bank_max_bytes,
        host_max_bytes=settings.bank_host_max_bytes,
        load_timeout_s=settings.load_timeout_s,
    )
    return Engine(
        recogniser,
        Domains(store, bank),
        queue_max_audio_s=settings.queue_max_audio_s,
        batch_max_audio_s=settings.batch_max_audio_s,
        request_timeout_s=settings.request_timeout_s,
    )


def create_app(settings: ServerSettings | None = None, engine: Engine | None = None) -> FastAPI:
    """Build the app. Without an engine, the app loads its own on startup, before the first request.

    `uvicorn --factory server.app:create_app` runs it with the settings of the environment. `ssvd serve` adds
    the drain on SIGTERM.
    """
    settings = settings if settings is not None else load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = engine if engine is not None else await run_in_threadpool(start_engine, settings)
        app.state.ssvd = ServerState(
            settings=settings,
            store=running.domains.store,
            engine=running,
            samples=Samples(running.domains.store.builtin),
            decoders=asyncio.Semaphore(settings.max_decoders),
            fetchers=CapacityLimiter(FETCHERS),
        )
        if settings.preload:
            await run_in_threadpool(running.domains.preload)
        try:
            yield
        finally:
            await run_in_threadpool(running.close, settings.drain_timeout_s)

    app = FastAPI(title="ssvd-asr", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    refusals.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes)
    for part in (transcriptions, catalogue, health):
        app.include_router(part.router)
    if settings.ui:
        _mount_ui(app, settings)
    return app


def _mount_ui(app: FastAPI, settings: ServerSettings) -> None:
    """Add the demo page, which calls this server over HTTP like any other client."""
    from ui.app import mount  # gradio takes 3 s to import

    mount(app, path=UI_PATH, server_url=local_url(settings), max_file_size=settings.max_upload_bytes)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse(UI_PATH + "/")


def local_url(settings: ServerSettings) -> str:
    """Return the URL at which this machine reaches the server."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
