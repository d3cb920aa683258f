"""Requests of many clients to a running server, over HTTP, and what became of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from adapters_store.packaged import PACKAGED

URL = "/v1/audio/transcriptions"
TIMEOUT_S = 120.0
TRANSCRIBED, REFUSED, LEFT, LOST = "transcribed", "refused", "left", "lost"
BUSY = (429, 503)
CLIENTS = 16  # that capacity is measured with


@dataclass(frozen=True)
class Answer:
    """One request: its times by time.monotonic(), and how it ended."""

    began_s: float
    ended_s: float
    outcome: str
    domain: str | None = None  # asked for
    code: str = ""  # of a refusal, or of what was lost
    digest: str | None = None  # of the adapter that the reply names
    named: str | None = None  # the domain that the reply names

    @property
    def took_s(self) -> float:
        """Seconds from the request to the whole answer."""
        return self.ended_s - self.began_s


def clips(count: int) -> list[bytes]:
    """Return so many of the packaged clips, from all domains."""
    found = sorted(PACKAGED.glob("*/samples/*-test-*.opus"))
    return [path.read_bytes() for path in found[:: max(1, len(found) // count)][:count]]


def client_of(url: str) -> httpx.AsyncClient:
    """Return a client without a limit on its connections."""
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=None))


async def ask(
    client: httpx.AsyncClient, clip: bytes, domain: str | None, leave_after_s: float | None = None
) -> Answer:
    """Ask for a transcript, and hang up after some seconds if the client is one that leaves."""
    fields = {} if domain is None else {"domain": domain}
    began_s = time.monotonic()

    def ended(outcome: str, code: str = "", digest: str | None = None, named: str | None = None) -> Answer:
        return Answer(began_s, time.monotonic(), outcome, domain, code, digest, named)

    try:
        async with asyncio.timeout(leave_after_s):
            response = await client.post(URL, files={"file": ("a.opus", clip)}, data=fields)
    except TimeoutError:
        return ended(LEFT)
    except httpx.HTTPError as error:
        return ended(LOST, type(error).__name__)
    if response.status_code == 200:
        made_by = response.json()["ssvd"]
        return ended(TRANSCRIBED, digest=made_by["adapter_sha256"], named=made_by["domain"])
    code = code_of(response)
    refused = response.status_code in BUSY or code == "domain_not_found"
    return ended(REFUSED if refused else LOST, code)


def code_of(response: httpx.Response) -> str:
    """Return the code of a refusal, or the status of an answer that has none."""
    try:
        return str(response.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code} without a code"


async def capacity(url: str, sent: Sequence[bytes], domains: Sequence[str], seconds: float) -> float:
    """Return the requests a second that are answered while CLIENTS ask without a pause.

    Each domain is asked for once before.
    """
    answered = 0

    async def ask_on(number: int, client: httpx.AsyncClient, until_s: float) -> None:
        nonlocal answered
        while time.monotonic() < until_s:
            answer = await ask(client, sent[number % len(sent)], domains[number % len(domains)])
            answered += answer.outcome == TRANSCRIBED
            number += CLIENTS

    async with client_of(url) as client:
        await asyncio.gather(*(ask(client, sent[0], domain) for domain in domains))
        began_s = time.monotonic()
        await asyncio.gather(*(ask_on(number, client, began_s + seconds) for number in range(CLIENTS)))
        return answered / (time.monotonic() - began_s)


async def at_rate(per_s: float, seconds: float, send: Callable[[int], object]) -> None:
    """Call `send` with 0, 1, 2, ... so many times a second, however long what it begins takes."""
    began_s = time.monotonic()
    for number in range(int(per_s * seconds)):
        await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
        send(number)
