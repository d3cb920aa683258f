"""`ssvd serve`: loads the base, serves HTTP, and on SIGTERM finishes the accepted requests."""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn

from server.app import UI_PATH, create_app, local_url, serves_page
from server.domains import problem_of
from server.draining import GRACE_S, DrainingServer
from server.engine.engine import Engine
from server.engine.start import open_store, start_engine
from server.keys.ring import KeyRing
from server.logs import start_log
from server.options import add_model_options
from server.realtime.audio_input import MAX_MESSAGE_BYTES
from server.samples import Samples
from server.settings import ServerSettings, load
from server.traces import traces_from
from ssvd_asr.console import drop, flush_output
from ssvd_asr.errors import SsvdError
from ssvd_asr.extras import require
from ssvd_asr.parser import CommandParser
from ssvd_asr.version import __version__

logger = logging.getLogger(__name__)

STOPPED = 143  # exit status, as a shell reports SIGTERM
# How long an idle connection stays open. A request into one that is being closed gets no answer, so this is
# longer than AWS's load balancers keep theirs (60 s), and than most waits of Retry-After.
KEEP_ALIVE_S = 75


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl+C. Return 1 if the server cannot start."""
    args = vars(_parser().parse_args(argv))
    print_only, file = args.pop("print_config"), args.pop("config")
    loaded = load(args, file)
    settings = loaded.settings
    if print_only:
        print(loaded.as_toml())
        return 0
    if settings.ui:  # asked for: told before the model is loaded
        require("ui")
    ring = KeyRing(settings.keys, settings.auth, settings.host)  # refuses where nobody could be let in
    traces = traces_from(os.environ)
    open_store(settings).list()  # raises StoreError for a folder that cannot be read
    start_log(settings)
    logger.info("settings: %s", loaded.changes())
    with _bound_socket(settings) as listener:
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        with _ended_by_sigterm():
            engine = start_engine(settings)
            app = create_app(settings, engine, traces, ring)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # server.api.watch writes a line a request
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            server_header=False,
            ws_max_size=MAX_MESSAGE_BYTES,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
        )
        ready = partial(ready_message, settings, engine, ring)
        server = DrainingServer(config, engine, settings, lambda: _tell(ready()))
        server.run(sockets=[listener])
    status = 0 if server.started else 1
    if engine.alive or any(thread.name.startswith("AnyIO") for thread in threading.enumerate()):
        _leave(status)
    return status


def _tell(message: str) -> None:
    """Print a message. Where nobody reads it, the log has it, and the server serves all the same."""
    try:
        print(message, flush=True)
    except OSError as error:
        drop(sys.stdout)
        logger.warning("standard output cannot be written (%s): %s", error.strerror, message)


def _leave(status: int) -> NoReturn:
    """End the process while threads still work, for requests that were given up.

    Python would wait for those that decode audio, and abort where the device's thread computes.
    """
    atexit._run_exitfuncs()
    flush_output()
    os._exit(status)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the process within the block.

    The first process of a container ignores signals for which it has no handler.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        print("ssvd serve: stopped before it was ready", file=sys.stderr)
        raise SystemExit(STOPPED)

    if threading.current_thread() is not threading.main_thread():  # only it may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def ready_message(settings: ServerSettings, engine: Engine, ring: KeyRing) -> str:
    """Return the text that says what is served where, with a curl command to try it."""
    url = local_url(settings)
    store = engine.domains.store
    base, found, private = engine.recogniser, store.list(), ring.private
    names = [each.name for each in found if problem_of(each.active, base.name, base.digest) is None]
    others = len(found) - len(names)
    clips = Samples(store.builtin)
    name, clip = next(
        ((name, str(clips.of(name)[0].path)) for name in names if clips.of(name) and name not in private),
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
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a TOML file of settings, as deploy/server.toml"
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print every setting and where it comes from, as such a file, and end",
    )
    add_model_options(parser)
    return parser
