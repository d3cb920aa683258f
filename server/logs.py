"""The server's log: lines of text or JSON objects on standard error, each with the id of its request.

A record that is written while a request is handled has its id, also in the threads that work for it. Records
of the device's thread have none: a batch is of many requests.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from server.settings import ServerSettings

OURS = ("server", "adapters_store", "ssvd_asr", "uvicorn")  # other libraries log warnings only
NONE = "-"

request_id: ContextVar[str] = ContextVar("request_id", default=NONE)


def start_log(settings: ServerSettings) -> None:
    """Write the records of this process to standard error as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(add_request_id)
    handler.setFormatter(formatter(settings.log_format))
    logging.basicConfig(handlers=[handler])
    level = settings.log_level.upper()
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_is_no_socket)


def formatter(kind: str) -> logging.Formatter:
    if kind == "text":
        return logging.Formatter("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")
    return JsonFormatter(
        "%(levelname)s %(name)s %(request_id)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's, for terminals
        json_ensure_ascii=False,
    )


def add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True


def _is_no_socket(record: logging.LogRecord) -> bool:
    """Return whether a record is not uvicorn's line of a WebSocket's address, which has its query."""
    return not (isinstance(record.msg, str) and '"WebSocket' in record.msg)
