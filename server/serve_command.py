"""`ssvd serve`: loads the base, serves HTTP, and on SIGTERM finishes the accepted requests."""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
import time
from types import FrameType

import uvicorn

from server.app import UI_PATH, create_app, local_url, serves_page
from server.domains import problem_of
from server.engine.engine import Engine
from server.engine.start import open_store, start_engine
from server.keys.ring import KeyRing
from server.options import add_model_options
from server.realtime.audio_input import MAX_MESSAGE_BYTES
from server.samples import Samples
from server.settings import ServerSettings, load_settings
from ssvd_asr.errors import SsvdError
from ssvd_asr.extras import require
from ssvd_asr.parser import CommandParser
from ssvd_asr.version import __version__

GRACE_S = 3  # for answers being sent, and for the page's event streams, which never end by themselves


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl+C. Return 1 if the server cannot start."""
    settings = load_settings(**vars(_parser().parse_args(argv)))
    if settings.ui:  # asked for: told before the model is loaded
        require("ui")
    KeyRing(settings.keys, settings.auth, settings.host)  # raises SsvdError where nobody could be let in
    open_store(settings).list()  # raises StoreError for a folder that cannot be read
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for ours in ("server", "uvicorn"):  # other libraries log warnings only
        logging.getLogger(ours).setLevel(logging.INFO)
    with _bound_socket(settings) as listener:
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        engine = start_engine(settings)
        config = uvicorn.Config(
            create_app(settings, engine),
            log_config=None,
            timeout_graceful_shutdown=GRACE_S,
            server_header=False,
            ws_max_size=MAX_MESSAGE_BYTES,
        )
        server = DrainingServer(config, engine, settings)
        server.run(sockets=[listener])
    return 0 if server.started else 1


class DrainingServer(uvicorn.Server):
    """Uvicorn server that drains on SIGTERM or SIGINT.

    It reports 503 on /readyz, finishes the accepted requests, then stops listening. A second signal ends it
    at once.
    """

    def __init__(self, config: uvicorn.Config, engine: Engine, settings: ServerSettings) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
        self._engine = engine
        self._settings = settings
        self._asked_to_stop_at: float | None = None  # time.monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then print the ready message."""
        await super().startup(sockets)
        if self.started:
            print(ready_message(self._settings, self._engine), flush=True)

    def handle_exit(self, _signal: int, _frame: FrameType | None) -> None:
        """Drain on the first SIGTERM or SIGINT; stop at once on the second."""
        if self._asked_to_stop_at is not None:
            self.should_exit = self.force_exit = True
            return
        self._asked_to_stop_at = time.monotonic()
        self._engine.drain()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop. Uvicorn calls this ten times a second."""
        if self._asked_to_stop_at is not None:
            waited_s = time.monotonic() - self._asked_to_stop_at
            noticed = waited_s >= self._settings.drain_notice_s
            if noticed and (self._engine.idle or waited_s >= self._settings.drain_timeout_s):
                self.should_exit = True
        return await super().on_tick(counter)


def ready_message(settings: ServerSettings, engine: Engine) -> str:
    """Return the text that says what is served where, with a curl command to try it."""
    url = local_url(settings)
    store = engine.domains.store
    ring = KeyRing(settings.keys, settings.auth, settings.host)
    base, found = engine.recogniser, store.list()
    names = [each.name for each in found if problem_of(each.active, base.name, base.digest) is None]
    others = len(found) - len(names)
    clips = Samples(store.builtin)
    name, clip = next(
        (
            (name, str(clips.of(name)[0].path))
            for name in names
            if clips.of(name) and name not in ring.private
        ),
        (None, "speech.wav"),
    )
    lines = [
        f"ssvd-asr {__version__} serves {base.name} at {url}",
        f"domains: {', '.join(names) or 'none yet'}" + (f" ({others} of another base)" if others else ""),
        *([f"page:    {url}{UI_PATH}"] if serves_page(settings) else []),
        f"keys:    {_who_may(ring, url)}",
        "try:     curl"
        + (' -H "Authorization: Bearer $SSVD_KEY"' if ring.asks else "")
        + (f" -F domain={name}" if name else "")
        + f" -F file=@{clip} {url}/v1/audio/transcriptions",
    ]
    return "\n".join(lines)


def _who_may(ring: KeyRing, url: str) -> str:
    if ring.asks:
        return f"asked for; {len(ring.names)} in {ring.path}"
    return f"none: anyone who reaches {url} may transcribe, in every domain that is not private"


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Return whether a record is not the traceback of a request that the server cancelled to stop.

    Uvicorn says in a line of its own how many these are, such as the event streams of open pages.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _bound_socket(settings: ServerSettings) -> socket.socket:
    """Return a bound socket that does not listen yet. Binding before the load reports a used port at once.

    Raises SsvdError if the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SsvdError(
            f"cannot listen on {settings.host} port {settings.port} (SSVD_HOST, SSVD_PORT): {error}"
        ) from error
    return listener


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="ssvd serve",
        description="Serve every domain of the store from one base model in memory. Every setting is also an "
        "environment variable SSVD_...; docs/serving.md lists them.",
    )
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    parser.add_argument("--ui", action=argparse.BooleanOptionalAction, help="serve the demo page under /ui")
    add_model_options(parser)
    return parser
