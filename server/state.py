"""State that the routes share. The app factory creates it; nothing is global."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from anyio import CapacityLimiter
from fastapi import Request

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.intake import Intake
from server.keys.quotas import Quotas
from server.keys.ring import KeyRing
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
    intake: Intake  # uploads before and while they are decoded to samples
    ring: KeyRing
    quotas: Quotas
    progress: Progress
    live: LiveSessions
    unanswered: Unanswered
    fetchers: CapacityLimiter  # requests waiting for their domain's file at the same time
    publishing: asyncio.Lock  # held while an adapter file is checked and published

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that wait for the device, or are decoded to samples for it before."""
        return self.engine.waiting_s + self.intake.audio_s


def state_of(request: Request) -> ServerState:
    """Return the state of the app that handles a request."""
    state: ServerState = request.app.state.ssvd
    return state
