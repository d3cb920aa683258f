"""What a hostile client sends, made by code, and what the server has to answer.

hostile_audio.py, hostile_forms.py and hostile_frames.py hold the cases. Each is made when it is sent, so that
nothing is encoded by those that only list them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Limits of the server that the cases are meant for, as environment variables.
MAX_DURATION_S = 20
MAX_UPLOAD_BYTES = 2_000_000
MAX_SESSIONS = 4
LIMITS: Mapping[str, str] = {
    "SSVD_MAX_DURATION_S": str(MAX_DURATION_S),
    "SSVD_QUEUE_MAX_AUDIO_S": str(2 * MAX_DURATION_S),
    "SSVD_MAX_UPLOAD_BYTES": str(MAX_UPLOAD_BYTES),
    "SSVD_REALTIME_MAX_SESSIONS": str(MAX_SESSIONS),
    "SSVD_REALTIME_MAX_TURN_S": "8",
}


@dataclass(frozen=True)
class Refused:
    """The answer is an error in OpenAI's shape."""

    status: int
    code: str


@dataclass(frozen=True)
class Heard:
    """The answer is 200, and the audio has this duration to 0.15 s."""

    duration_s: float
    silent: bool = False  # whether the text has to be empty


@dataclass(frozen=True)
class Case:
    """Something to send as the file of a form that is otherwise in order."""

    make: Callable[[], bytes]
    answer: Refused | Heard


UNREADABLE = Refused(415, "audio_unreadable")
TOO_LONG = Refused(422, "audio_too_long")
OVER_LIMIT = Refused(422, "audio_over_limit")
