"""What the server refuses, and its HTTP status. Every answer that is not a success has OpenAI's shape."""

from __future__ import annotations

import math

from ssvd_asr.errors import SsvdError

DEVICE_ENDED = "the device's thread has ended; the server's log has the reason"


class QueueFullError(SsvdError):
    """No room for this much audio now."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = max(1, math.ceil(retry_after_s))


class BankFullError(SsvdError):
    """No room for another domain beside those in use, or none in time."""


class DeadlineError(SsvdError):
    """The request was not answered in the time that the server gives it."""


class OutOfMemoryError(SsvdError):
    """The device's memory does not hold even this one row."""


class DrainingError(SsvdError):
    """The server is stopping and takes no new work."""


class LanguageError(SsvdError):
    """The base was not made for this language."""


class ApiError(SsvdError):
    """A refusal that already knows its HTTP status, the field at fault and a code for programs."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


def late(timeout_s: float) -> DeadlineError:
    """The answer to a request whose time is over."""
    return DeadlineError(
        f"not transcribed within {timeout_s:g} s of its arrival (SSVD_REQUEST_TIMEOUT_S): the server is busy"
    )
