"""App factory: builds the FastAPI app from settings. All state is kept in the app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse

from server.api import catalogue, health, metrics, realtime, refusals, transcriptions, versions
from server.api.access import PAGE, Access
from server.api.body_limit import BodyLimit, Limit
from server.api.documented import DocumentedApp
from server.api.gate import Gate
from server.api.head import Head
from server.api.naming import is_model_of
from server.api.replies import PROVENANCE_HEADERS
from server.api.stopping import Stopping
from server.api.watch import HEADER as REQUEST_ID
from server.api.watch import Watch
from server.engine.engine import Engine
from server.engine.start import start_engine
from server.intake import Intake
from server.keys.quotas import HEADERS as QUOTA_HEADERS
from server.keys.quotas import Quotas
from server.keys.ring import KeyRing
from server.live_sessions import LiveSessions
from server.progress import Progress
from server.samples import Samples
from server.settings import ServerSettings, load_settings
from server.state import ServerState
from server.traces import Traces
from server.unanswered import Unanswered
from server.watched_folder import WatchedFolder
from ssvd_asr.errors import SsvdError
from ssvd_asr.extras import how_to_add, missing
from ssvd_asr.version import __version__

logger = logging.getLogger(__name__)

UI_PATH = PAGE
CLOSE_S = 5.0  # for what the device is decoding
FETCHERS = 64  # threads that only wait for a disk, apart from those that compute


def serves_page(settings: ServerSettings) -> bool:
    """Whether the demo page is served: what the setting says, or else whether its extra is installed."""
    return not missing("ui") if settings.ui is None else settings.ui


def create_app(
    settings: ServerSettings | None = None,
    engine: Engine | None = None,
    traces: Traces | None = None,
    ring: KeyRing | None = None,
) -> FastAPI:
    """Build the app. Without an engine, the app loads its own on startup, before the first request.

    `uvicorn --factory server.app:create_app` runs it with the settings of the environment. `ssvd serve` adds
    the drain on SIGTERM. Raises SsvdError as KeyRing does.
    """
    settings = settings if settings is not None else load_settings()
    if engine is not None:  # told here, and not as a failure of the app
        _check_aliases(settings, engine.recogniser.name)
    keys = KeyRing(settings.keys, settings.auth, settings.host) if ring is None else ring
    quotas = Quotas()
    unanswered = Unanswered()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = engine
        if running is None:
            running = await run_in_threadpool(start_engine, settings)
            _check_aliases(settings, running.recogniser.name)
        app.state.ssvd = ServerState(
            settings=settings,
            store=running.domains.store,
            engine=running,
            samples=Samples(running.domains.store.builtin),
            intake=Intake(settings.max_decoders, settings.decoders_max_bytes, settings.max_duration_s),
            ring=keys,
            quotas=quotas,
            progress=Progress(),
            live=LiveSessions(settings.realtime_max_sessions),
            unanswered=unanswered,
            fetchers=CapacityLimiter(FETCHERS),
            publishing=asyncio.Lock(),
        )
        watched = None if settings.watch is None else WatchedFolder(settings.watch, running)
        if watched is not None:
            watched.start()
        if settings.preload:
            base = running.recogniser
            await run_in_threadpool(running.domains.preload, base.name, base.digest)
        try:
            yield
        finally:
            if watched is not None:
                await run_in_threadpool(watched.close)
            # Nobody waits for more: `ssvd serve` has drained, and other servers end requests before this.
            await run_in_threadpool(running.close, CLOSE_S)
            if traces is not None:
                await run_in_threadpool(traces.close)

    app = DocumentedApp(
        title="ssvd-asr", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    refusals.install(app)
    app.add_middleware(
        Gate, access=Access(), ring=keys, quotas=quotas, metrics_public=settings.metrics_public
    )
    app.add_middleware(
        BodyLimit,
        audio=Limit(settings.max_upload_bytes, "SSVD_MAX_UPLOAD_BYTES"),
        adapters=Limit(settings.max_adapter_bytes, "SSVD_MAX_ADAPTER_BYTES"),
    )
    app.add_middleware(Head, except_below=UI_PATH)
    app.add_middleware(Stopping, unanswered=unanswered)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Retry-After", REQUEST_ID, *QUOTA_HEADERS, *PROVENANCE_HEADERS.values()],
        )
    app.add_middleware(Watch, traces=traces)  # the last one added is the outermost
    for part in (transcriptions, realtime, catalogue, versions, health, metrics):
        app.include_router(part.router)
    app.include_router(versions.changes)
    if serves_page(settings):
        _mount_ui(app, settings)
    elif settings.ui is None:
        logger.info("no page at %s: it needs %s", UI_PATH, how_to_add("ui"))
    return app


def _check_aliases(settings: ServerSettings, base: str) -> None:
    """Raise SsvdError for an alias of a model that is not served, or one that hides a model's name."""
    for alias, model in settings.aliases.items():
        if is_model_of(base, alias) or not is_model_of(base, model):
            raise SsvdError(
                f"{alias}={model} (SSVD_MODEL_ALIASES): an alias stands for {base} or {base}:<domain>, "
                "and is neither itself"
            )


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
