"""Standard output and error of a command: what cannot be written there is told in one line, or ends quietly.

A reader that has gone (`ssvd ... | head`) ends the command without a word, as it ends other programs. A full
disk is an error, also if it is noticed only when the last lines are flushed.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO

READER_GONE = 141  # exit status, as a shell reports SIGPIPE


def open_closed_streams() -> None:
    """Let a stream that the caller has closed (`2>&-`) lead to nowhere; Python has None for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open as long as the process)


def use_any_characters() -> None:
    """Write what the streams' encoding cannot hold as an escape, such as a file name that is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def json_line(text: str) -> str:
    r"""Return JSON text that UTF-8 can hold: a byte of a file name that is no UTF-8 becomes `\udcXX`.

    Python's json module reads the escape back as the name that `os.fsencode` turns into the same bytes.
    """
    return text.encode(errors="backslashreplace").decode()


def flush_output() -> None:
    """Write out what print() has kept. Raises OSError if it cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def readers_gone() -> bool:
    """Return whether standard output or error is a pipe without a reader; what is left for it is dropped."""
    gone = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _has_no_reader(stream)]
    drop(*gone)
    return bool(gone)


def drop(*streams: TextIO) -> None:
    """Send what streams still hold to nowhere, so that it is not written again when the process ends."""
    for stream in streams:
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
        except (OSError, io.UnsupportedOperation):  # no file of the system: nothing is written at the end
            continue


def _has_no_reader(stream: TextIO) -> bool:
    try:
        number = stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return False
    polled: Any = select.poll()
    polled.register(number, select.POLLOUT)
    return any(events & select.POLLERR for _, events in polled.poll(0))
