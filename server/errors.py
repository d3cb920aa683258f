"""Errors of the server. server.api.refusals maps them to HTTP statuses."""

from __future__ import annotations

import math

from ssvd_asr.errors import SsvdError

DEVICE_ENDED = "the device's thread has ended; the server's log has the reason"
STOPPED = "the server stopped before this was finished (SSVD_DRAIN_TIMEOUT_S)"


class QueueFullError(SsvdError):
    """The queue has no room for this much audio now."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = max(1, math.ceil(retry_after_s))


class BankFullError(SsvdError):
    """The bank has no room for another domain beside those in use, or did not load it in time."""


class DeadlineError(SsvdError):
    """The request was not answered within the server's time limit."""


class OutOfMemoryError(SsvdError):
    """The device's memory cannot hold even one row."""


class DrainingError(SsvdError):
    """The server is stopping and takes no new work."""


class OutputError(SsvdError):
    """A transcript cannot be written where it was asked for."""


class ApiError(SsvdError):
    """A refusal with its HTTP status, the field at fault and a machine-readable code."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


def late(timeout_s: float) -> DeadlineError:
    """Return the error for a request whose time is over."""
    return DeadlineError(
        f"not transcribed within {timeout_s:g} s of its arrival (SSVD_REQUEST_TIMEOUT_S): the server is busy"
    )


def fault(error: Exception) -> SsvdError:
    """Return a bug as an error that a client may read, where no status can be answered any more."""
    told = SsvdError(f"the server failed: {type(error).__name__}; its log has the details")
    told.__cause__ = error
    return told
