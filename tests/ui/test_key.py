"""The page before a server that asks for keys: each visitor's key goes with the visitor's requests alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

from tests.ui.test_page import VISIT, FakeServer, Page, asked, page_before, values
from ui import ui_command
from ui.client import ServerClient

KEY, OTHER = "ssvd-known", "ssvd-other"


class KeyedServer(FakeServer):
    """Asks for a key. OTHER does not show the domain `child`."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key not in (KEY, OTHER):
            error = {"message": "send one (SSVD_KEYS)", "code": "invalid_api_key"}
            return httpx.Response(401, json={"error": error})
        self.domains = ["child", "scottish"] if key == KEY else ["scottish"]
        if key == OTHER and request.url.path == "/v1/domains/child/samples":
            return httpx.Response(404, json={"error": {"message": "no", "code": "domain_not_found"}})
        return super().__call__(request)


@pytest.fixture
def server() -> KeyedServer:
    return KeyedServer()


@pytest.fixture
def page(server: KeyedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    with page_before(server, tmp_path, monkeypatch) as page:
        yield page


def last(page: Page, audio: str, domain: str | None, example: str | None, key: str | None) -> str:
    async def shown() -> str:
        found = page.transcribe(audio, domain, example, VISIT, key)
        return [each async for each in found][-1][0]

    return asyncio.run(shown())


def test_the_field_appears_where_a_key_is_asked_for_and_the_refusal_is_a_sentence(
    page: Page, tmp_path: Path
) -> None:
    for key in (None, "", " ", "wrong", "schlüssel\n"):
        *_, field, outcome = page.fill(None, None, key)
        assert field["visible"]
        assert "asks for a key" in outcome
        assert ("does not take this one" in outcome) == bool(key and key.strip())
    (tmp_path / "own.wav").write_bytes(b"RIFF")
    assert "asks for a key" in last(page, str(tmp_path / "own.wav"), "child", None, None)


def test_a_key_opens_the_page_and_is_sent_with_every_request(page: Page) -> None:
    domain, example, about, *_, outcome = page.fill(None, None, f" {KEY} ")
    assert values(domain) == ["child", "scottish"]
    assert len(example["choices"]) == 2
    assert "50.0 %" in about
    assert "alert" not in str(outcome)
    assert "alert" not in page.describe("child", KEY)
    path, name, *_ = page.fetch("child/a", VISIT, KEY)
    assert (name, Path(path).read_bytes()) == ("child", b"OggS")
    assert "What was said" in last(page, path, "child", "child/a", KEY)
    content = asyncio.run(page.subtitles(path, asked(), KEY))["content"]
    assert content == "subtitles of None"
    with pytest.raises(gr.Error, match="asks for a key"):
        asyncio.run(page.subtitles(path, asked(), None))


def test_what_one_visitor_s_key_shows_another_does_not_see(page: Page) -> None:
    page.fill(None, None, KEY)
    page.fetch("child/a", VISIT, KEY)
    domain, *_ = page.fill(None, None, OTHER)
    assert values(domain) == ["scottish"]
    for key in (OTHER, None):
        fetched, *_, told, _, _ = page.fetch("child/a", VISIT, key)
        assert fetched is None
        assert 'role="alert"' in told
    assert page.fetch("scottish/a", VISIT, OTHER)[1] == "scottish"


class NarrowServer(KeyedServer):
    """Takes one transcription of a key at a time, and gives a place up a little after the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.taken = 0  # by others

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if request.method != "POST":
            return self(request)
        if self.running + self.taken >= 1:
            error = {"message": "1 requests of key a are running", "code": "too_many_requests"}
            return httpx.Response(429, json={"error": error})
        self.running += 1
        asyncio.get_running_loop().call_later(0.3, self._end)
        await asyncio.sleep(0.2)
        return self(request)

    def _end(self) -> None:
        self.running -= 1


@pytest.fixture
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[NarrowServer, Page]]:
    server = NarrowServer()
    with page_before(server.answer, tmp_path, monkeypatch) as page:
        yield server, page


@pytest.mark.parametrize("domain", ["child", None])
def test_a_key_of_one_request_at_a_time_has_its_transcripts_one_after_the_other(
    narrow: tuple[NarrowServer, Page], tmp_path: Path, domain: str | None
) -> None:
    server, page = narrow
    (tmp_path / "own.wav").write_bytes(b"RIFF")
    shown = last(page, str(tmp_path / "own.wav"), domain, None, KEY)
    assert "alert" not in shown
    assert "one" in shown
    server.taken = 1  # by another page with this key: neither has a place, and neither waits for the other
    assert "Too many requests with your key" in last(page, str(tmp_path / "own.wav"), domain, None, KEY)


def test_the_command_starts_though_the_server_asks_for_a_key(
    monkeypatch: pytest.MonkeyPatch, server: KeyedServer
) -> None:
    launched: list[Any] = []
    transport = httpx.MockTransport(server)
    monkeypatch.setattr("ui.client.ServerClient", lambda url: ServerClient(url, transport=transport))
    monkeypatch.setattr("ui.app.launch", lambda *given: launched.append(given))
    assert ui_command.main(["--server", "http://server.test"]) == 0
    assert len(launched) == 1
