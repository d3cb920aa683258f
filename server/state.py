"""State that the routes share. The app factory creates it; nothing is global."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from anyio import CapacityLimiter
from fastapi import Request

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.live_sessions import LiveSessions
from server.progress import Progress
from server.samples import Samples
from server.settings import ServerSettings
from server.unanswered import Unanswered


@dataclass(frozen=True)
class ServerState:
    """The parts of one running server."""

    settings: ServerSettings
    store: AdapterStore
    engine: Engine
    samples: Samples
    decoders: asyncio.Semaphore  # uploads being decoded at the same time
    progress: Progress
    live: LiveSessions
    unanswered: Unanswered
    fetchers: CapacityLimiter  # requests waiting for their domain's file at the same time


def state_of(request: Request) -> ServerState:
    """Return the state of the app that handles a request."""
    state: ServerState = request.app.state.ssvd
    return state
