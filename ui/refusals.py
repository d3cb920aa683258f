"""Refusals of the server, and its failures, as sentences to show."""

from __future__ import annotations

import httpx

GONE = "The recording is no longer here: it is deleted when its page is closed. Please choose it again."


class ServerProblem(Exception):
    """The server refused or did not answer. The message is a sentence to show.

    `reason` is the server's own message: for whoever runs it, with limits and settings. `code` is its code.
    """

    def __init__(self, message: str, reason: str | None = None, code: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code

    @property
    def wants_key(self) -> bool:
        """Whether the server asks for a key, or for another one."""
        return self.code == NO_KEY


NO_KEY = "invalid_api_key"
NO_PLACE = "too_many_requests"  # as many requests of the key run as it may have
WRONG_KEY = "This server asks for a key, and does not take this one. Please check it and press Enter again."
_BUSY = "The server is busy. Please try again in a moment."
_RUNNER = "Please tell whoever runs the server."
# What a refusal means for a visitor, by its code.
ADVICE = {
    "invalid_blend": "The server cannot blend these domains as asked.",
    "forms_differ": "These domains were trained in different ways and cannot be blended.",
    "domain_not_found": "The server does not know this domain any more. Please refresh the list.",
    "upload_too_large": "The file is too large for this server.",
    "audio_unreadable": "This file could not be read as a recording. It is damaged, cut off or no audio.",
    "audio_over_limit": "The recording has more channels or a higher sampling rate than this server takes.",
    "no_such_channel": "The recording does not have this channel.",
    "audio_too_long": "The recording is too long for this server.",
    "unsupported_keyword": "The server cannot listen for one of these words.",
    "invalid_audio": "The server cannot transcribe this recording.",
    NO_KEY: "This server asks for a key. Please type yours into the field Key and press Enter.",
    "quota_exceeded": "Your key has no audio left for now. Please try again later.",
    NO_PLACE: "Too many requests with your key are running. Please try again in a moment.",
    "keys_unreadable": f"The server cannot check keys now. {_RUNNER}",
    "queue_full": _BUSY,
    "deadline_exceeded": "The server was too busy to transcribe this. Please try again later.",
    "bank_full": _BUSY,
    "not_loaded": "The server could not load this domain in time. Please try again in a moment.",
    "out_of_memory": "The server has not enough memory for this recording now. Please try again later.",
    "no_space": "The server has no room for this recording now. Please try again later.",
    "stopping": "The server is stopping. Please try again in a moment.",
    "wrong_base": "The server cannot use this domain: it was made for another base model.",
    "wrong_basis": "The server cannot use this domain: it was made for another base model.",
    "adapter_refused": f"The file of this domain is damaged. {_RUNNER}",
    "store_damaged": f"The server's store of domains is damaged. {_RUNNER}",
    "store_unwritable": f"The server's store of domains cannot be written. {_RUNNER}",
    "store_unreachable": "The server does not reach its store of domains. Please try again in a moment.",
}


def in_words(response: httpx.Response) -> ServerProblem:
    """Return what a refusal means for a visitor, with the server's reason."""
    try:
        error = response.json()["error"]
        reason, code = str(error["message"]), str(error.get("code"))
    except (ValueError, KeyError, TypeError, AttributeError):
        reason, code = f"It answered {response.status_code} {response.reason_phrase}.", ""
    if code == NO_KEY and "Authorization" in response.request.headers:
        return ServerProblem(WRONG_KEY, reason, code)
    refused = "The server refused this." if response.status_code < 500 else f"The server failed. {_RUNNER}"
    return ServerProblem(ADVICE.get(code, refused), reason, code)
