"""HTTP client of the page, its only way to the server. Errors become sentences to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ui.auto import AUTO, Choice, choices
from ui.heard import HeardWord, heard_words
from ui.refusals import GONE, ServerProblem, in_words

TIMEOUT_S = 600.0  # a long recording on a slow machine
CONNECT_TIMEOUT_S = 5.0
REQUEST_ID_HEADER = "X-SSVD-Request-ID"
_CONNECTION: dict[str, Any] = {
    "timeout": httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
    "trust_env": False,
}


@dataclass(frozen=True)
class Domain:
    """Domain as the server lists it."""

    name: str
    version: int
    sha256: str
    builtin: bool
    wer_before: float | None  # ratio, of the base
    wer_after: float | None
    scored_on: str | None = None  # the data of both rates: "test" or "valid"
    scored_utterances: int | None = None


@dataclass(frozen=True)
class Catalogue:
    """Base and domains of a server."""

    base: str
    base_digest: str
    domains: tuple[Domain, ...]
    auto: bool = False  # whether it can choose the domain
    languages: tuple[tuple[str, str], ...] = ()  # name and code of each that the base has
    language: str | None = None  # code of the one of requests that name none, or AUTO
    identifies_language: bool = False


@dataclass(frozen=True)
class Clip:
    """Example recording of a domain."""

    domain: str
    id: str
    text: str
    url: str  # path on the server


@dataclass(frozen=True)
class Transcript:
    """Transcript by the server, with the digests of the base and the adapter that made it."""

    text: str
    words: tuple[HeardWord, ...]  # every word of the text
    duration_s: float  # of the recording
    reply: bytes  # the server's whole answer, in verbose_json
    base: str
    base_digest: str
    domain: str | None
    version: int | None
    sha256: str | None
    warnings: tuple[str, ...] = ()  # sentences of the server on what it mended or doubts
    choices: tuple[Choice, ...] = ()  # where the server chose the domain and heard speech

    @property
    def mixed(self) -> bool:
        """Whether parts were decoded in different domains. Then `domain` is that of one of them."""
        return len({each.domain for each in self.choices}) > 1

    @property
    def adapter(self) -> str | None:
        """The domain as a request names it, pinned to its digest; None for the base, AUTO where mixed."""
        if self.mixed:
            return AUTO
        return None if self.domain is None else f"{self.domain}@sha256:{self.sha256}"


class ServerClient:
    """Client of one server. It is thread-safe, because every call is a request of its own."""

    def __init__(
        self, url: str, transport: httpx.MockTransport | None = None, key: str | None = None
    ) -> None:
        """`transport` replaces the network in tests. `key` is sent with every request."""
        self.url = url.rstrip("/")
        self._transport = transport
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def with_key(self, key: str | None) -> ServerClient:
        """Return a client of the same server that sends this key, or none if there is nothing in it."""
        given = (key or "").strip()
        if not given:
            return self
        # What no header can hold is no key: the server says so.
        return ServerClient(
            self.url, self._transport, given if given.isascii() and given.isprintable() else "?"
        )

    def catalogue(self) -> Catalogue:
        """Return the base and the domains that can be used now.

        Raises ServerProblem, as all methods do.
        """
        body = self._json("GET", "/v1/domains")
        return Catalogue(
            base=body["base"]["name"],
            base_digest=body["base"]["digest"],
            domains=tuple(_domain(entry) for entry in body["data"] if entry["problem"] is None),
            auto=body.get("auto") is True,  # servers that cannot lack it
            languages=tuple((each["name"], each["code"]) for each in body["base"].get("languages", ())),
            language=body["base"].get("language"),
            identifies_language=body["base"].get("identifies_language") is True,
        )

    def clips(self, domain: str) -> tuple[Clip, ...]:
        """Return the example recordings of a domain, often none."""
        body = self._json("GET", f"/v1/domains/{quote(domain)}/samples")
        return tuple(Clip(domain, entry["id"], entry["text"], entry["url"]) for entry in body["data"])

    def audio(self, clip: Clip) -> bytes:
        """Return the bytes of an example recording's file."""
        return self._send("GET", clip.url).content

    async def transcribe(
        self, audio: Path, domain: str | None, request_id: str, language: str | None = None
    ) -> Transcript:
        """Transcribe a recording with a domain, with that which AUTO finds, or with the base if it is None.

        It waits without a thread. A cancelled call closes its connection, and the server then gives up too.

        Args:
            request_id: names the request for `pieces_done`, and is nobody else's.
            language: a code, or AUTO; None is the server's own.
        """
        fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
        response = await self._transcription(audio, domain, language, fields, {REQUEST_ID_HEADER: request_id})
        body = self._parsed(response)
        made_by = body["ssvd"]
        return Transcript(
            text=body["text"],
            words=heard_words(body),
            duration_s=body["duration"],
            reply=response.content,
            base=made_by["base"],
            base_digest=made_by["base_digest"],
            domain=made_by["domain"],
            version=made_by["adapter_version"],
            sha256=made_by["adapter_sha256"],
            warnings=tuple(made_by["warnings"]),
            choices=choices(made_by),
        )

    async def pieces_done(self, request_id: str) -> tuple[int, int]:
        """Return (pieces decoded, pieces) of a running request; 0 and 0 where it is not known."""
        try:
            async with self._connection() as client:
                body = (await client.get(f"{self.url}/v1/progress/{request_id}")).raise_for_status().json()
            return int(body["pieces_done"]), int(body["pieces"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return 0, 0  # it has not begun or has just ended; a real failure is the transcription's to tell

    async def subtitles(
        self, audio: Path, domain: str | None, subtitle_format: str, language: str | None = None
    ) -> str:
        """Transcribe a recording again, and return the server's file in this format, `srt` or `vtt`."""
        response = await self._transcription(
            audio, domain, language, {"response_format": subtitle_format}, {}
        )
        return response.content.decode()

    async def _transcription(
        self,
        audio: Path,
        domain: str | None,
        language: str | None,
        fields: dict[str, Any],
        headers: dict[str, str],
    ) -> httpx.Response:
        asked = {"domain": domain, "language": language}
        named = {name: value for name, value in asked.items() if value is not None}
        try:
            content = audio.read_bytes()  # at most what an upload may have
        except FileNotFoundError as error:
            raise ServerProblem(GONE) from error
        with self._told():
            async with self._connection() as client:
                response = await client.post(
                    f"{self.url}/v1/audio/transcriptions",
                    files={"file": ("recording", content)},
                    data={**fields, **named},
                    headers=headers,
                )
        return _unless_refused(response)

    def _connection(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self._transport, headers=self._headers, **_CONNECTION)

    def _json(self, method: str, path: str) -> dict[str, Any]:
        return self._parsed(self._send(method, path))

    def _parsed(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body: dict[str, Any] = response.json()
        except ValueError as error:
            raise ServerProblem(f"{self.url} answered with something that is not this server's.") from error
        return body

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        with self._told(), self._at_once() as client:
            response = client.request(method, self.url + path, **request)
        return _unless_refused(response)

    def _at_once(self) -> httpx.Client:
        return httpx.Client(transport=self._transport, headers=self._headers, **_CONNECTION)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise ServerProblem for a server that does not answer within the block."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise ServerProblem(f"The server at {self.url} took too long to answer.") from error
        except httpx.HTTPError as error:
            raise ServerProblem(
                f"The server at {self.url} does not answer ({error}). Is it running? `ssvd serve` starts it."
            ) from error


def _unless_refused(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        raise in_words(response)
    return response


def _domain(entry: dict[str, Any]) -> Domain:
    return Domain(
        name=entry["name"],
        version=entry["active_version"],
        sha256=entry["sha256"],
        builtin=entry["builtin"],
        wer_before=_ratio(entry["wer_before"]),
        wer_after=_ratio(entry["wer_after"]),
        scored_on=entry["wer_data"],
        scored_utterances=entry["wer_utterances"],
    )


def _ratio(value: object) -> float | None:
    """Return a number as float, or None for any other value that a training summary may hold."""
    return float(value) if isinstance(value, int | float) else None
