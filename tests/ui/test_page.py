"""The page: served under /ui without anything from elsewhere, filled from the server, failing in words."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

import ui.page
from ssvd_asr.errors import SsvdError
from tests.ui import replies
from ui import ui_command
from ui.auto import AUTO
from ui.client import ServerClient
from ui.menus import FIND_OUT
from ui.page import CANCELLED, WELCOME, Page, Shown
from ui.visits import Visits

DOMAIN = {
    "active_version": 1,
    "sha256": "ab" * 32,
    "builtin": True,
    "wer_before": 0.5,
    "wer_after": 0.1,
    "wer_data": "test",
    "wer_utterances": 600,
    "problem": None,
}


class FakeServer:
    """Answers as the server does, and counts what it is asked."""

    def __init__(self) -> None:
        self.domains = ["child", "scottish"]
        self.offers: dict[str, Any] = {}  # what a newer server says beside its domains
        self.found: str | None = "child"  # by itself
        self.asked: list[str] = []
        self.languages: list[bytes] = []  # that transcriptions named
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        if request.url.path == "/v1/domains":
            data = [{**DOMAIN, "name": name} for name in self.domains]
            return httpx.Response(
                200,
                json={"base": {"name": "owsm-nano", "digest": "sha256:cd"}, "data": data, **self.offers},
            )
        if request.url.path.endswith("/samples"):
            name = request.url.path.split("/")[3]
            clip = {"id": "a", "text": f"one {name} clip", "url": f"/clips/{name}"}
            return httpx.Response(200, json={"data": [clip]})
        if request.url.path.startswith("/v1/progress/"):
            return httpx.Response(200, json={"pieces": 4, "pieces_done": 1})
        if request.url.path.startswith("/clips/"):
            return httpx.Response(200, content=b"OggS")
        return self._transcript(request.read())

    def _transcript(self, body: bytes) -> httpx.Response:
        self.languages += re.findall(rb'name="language"\r\n\r\n(\w+)', body)
        domain = "child" if b'name="domain"' in body else None
        if b"srt" in body:
            return httpx.Response(200, text=f"subtitles of {domain}")
        if b"\r\n\r\nauto\r\n" in body:
            return httpx.Response(200, json=replies.found_out(f"one {self.found} clip", self.found))
        return httpx.Response(200, json=replies.body(f"one {domain} clip", 0.5, 1.0, 1.5, domain=domain))


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@contextmanager
def page_before(
    answer: Callable[[httpx.Request], httpx.Response]
    | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Page]:
    """A page before a server that answers so; its temporary files are in the folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    visits = Visits()
    yield Page(ServerClient("http://server.test", transport=httpx.MockTransport(answer)), visits)
    visits.close()


@pytest.fixture
def page(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    with page_before(server, tmp_path, monkeypatch) as page:
        yield page


VISIT = gr.Request(session_hash="visit")


def transcribe(page: Page, audio: str | None, domain: str | None, example: str | None) -> Shown:
    """What the page shows in the end."""

    async def last() -> Shown:
        return [shown async for shown in page.transcribe(audio, domain, example, VISIT)][-1]

    return asyncio.run(last())


def subtitles(page: Page, transcribed: str | None, event: gr.EventData) -> dict[str, str]:
    return asyncio.run(page.subtitles(transcribed, event))


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "own.wav"
    path.write_bytes(b"RIFF")
    return str(path)


def languages(page: Page, chosen: str | None) -> Any:
    """The menu of languages."""
    *_, menu, _, _ = page.fill(None, None, None, chosen)
    return menu


def values(menu: Any) -> list[str]:
    return [value for _, value in menu["choices"]]


def test_the_lists_are_the_server_s_and_what_is_chosen_stays_chosen(page: Page, server: FakeServer) -> None:
    domain, example, about, note, *_ = page.fill(None, None)
    assert (values(domain), domain["value"]) == (["child", "scottish"], "child")
    assert example["choices"] == [
        ("child: one child clip", "child/a"),
        ("scottish: one scottish clip", "scottish/a"),
    ]
    assert "50.0 %" in about
    assert "knows these and nothing else" in note
    server.domains.append("ward")
    domain, example, *_ = page.fill("scottish", "scottish/a")
    assert (values(domain), domain["value"]) == (["child", "scottish", "ward"], "scottish")
    assert example["value"] == "scottish/a"
    server.domains.remove("scottish")
    domain, example, *_ = page.fill("scottish", "scottish/a")
    assert (domain["value"], example["value"]) == ("child", None)


def test_the_domain_is_left_to_a_server_that_can_choose_until_the_visitor_or_an_example_does(
    page: Page, server: FakeServer
) -> None:
    server.offers = {"auto": True}
    domain, _, about, *_ = page.fill(None, None)
    assert domain["choices"][0] == (FIND_OUT, AUTO)
    assert (values(domain), domain["value"]) == ([AUTO, "child", "scottish"], AUTO)
    assert "listens to the voice" in about
    assert page.fetch("scottish/a", VISIT)[1] == "scottish"
    assert page.fill("scottish", None)[0]["value"] == "scottish"
    server.offers = {}  # an older server has taken its place
    domain, _, about, *_ = page.fill(AUTO, None)
    assert (values(domain), domain["value"]) == (["child", "scottish"], "child")
    server.offers, server.domains = {"auto": True}, []
    domain, *_ = page.fill(AUTO, None)
    assert (values(domain), domain["value"]) == ([], None)  # there is nothing to find


def test_what_was_found_out_stands_beside_the_base(page: Page, recording: str, server: FakeServer) -> None:
    shown, timeline, _ = transcribe(page, recording, AUTO, None)
    assert "Found out: child version 2" in shown
    assert shown.index("Found out") < shown.index("Base model") < shown.index("With domain child")
    assert timeline.count("ssvd-lane ") == 2
    server.found = None
    shown, timeline, _ = transcribe(page, recording, AUTO, None)
    assert "Found out: the base model" in shown
    assert shown.count("ssvd-card ") == timeline.count("ssvd-lane ") == 1


def test_an_example_is_fetched_once_and_shown_with_its_words(page: Page, server: FakeServer) -> None:
    page.fill(None, None)
    path, domain, *_ = page.fetch("child/a", VISIT)
    assert domain == "child"  # an example brings its domain
    assert Path(path).read_bytes() == b"OggS"
    page.fetch("child/a", VISIT)
    assert server.asked.count("/clips/child") == 1
    result, timeline, _ = transcribe(page, path, "child", "child/a")
    assert "What was said" in result
    assert re.search(
        r"one</button> <mark [^>]+><button [^>]+>None</button></mark> <button [^>]+>clip", result
    )
    assert timeline.count("ssvd-lane ") == 2
    assert "every word right" in result


def test_an_example_that_the_player_does_not_hold_yet_is_the_one_that_is_transcribed(
    page: Page,
) -> None:
    page.fill(None, None)
    before, *_ = page.fetch("scottish/a", VISIT)
    for audio in (None, before):
        result, *_, transcribed = transcribe(page, audio, "child", "child/a")
        assert "one child clip" in result
        assert transcribed not in (None, before)
        assert "child-a-child.srt" in result  # the downloads have the example's name


def test_of_an_example_and_a_recording_of_one_s_own_the_later_is_transcribed(page: Page) -> None:
    page.fill(None, None)
    own = page._visits.folder / "ab" / "own.wav"
    own.parent.mkdir()
    own.write_bytes(b"RIFF")
    page.fetch("child/a", VISIT)
    assert transcribe(page, str(own), "child", "child/a")[2] == str(own)  # the menu is emptied a moment later
    page.choose(str(own), VISIT)
    assert transcribe(page, str(own), "child", "child/a")[2] == str(own)
    page.fetch("child/a", VISIT)  # and the player gets it a moment later
    assert "What was said" in transcribe(page, str(own), "child", "child/a")[0]


def test_a_visitor_s_own_recording_is_named_and_never_takes_an_example_s_words(
    page: Page, recording: str
) -> None:
    page.fill(None, None)
    assert "own.wav" in page.choose(recording, VISIT)
    assert page.choose(page.fetch("child/a", VISIT)[0], VISIT) == ""
    result, *_ = transcribe(page, recording, "child", "child/a")  # the menu is emptied a moment later
    assert "What was said" not in result


def test_the_language_is_the_visitor_s_where_the_base_has_several(
    page: Page, server: FakeServer, recording: str
) -> None:
    assert languages(page, None)["visible"] is False
    several = [{"code": "eng", "name": "english"}, {"code": "hat", "name": "haitian_creole"}]
    base = {"name": "whisper", "digest": "sha256:cd", "language": "eng", "languages": several}
    server.offers = {"base": base}
    menu = languages(page, None)
    assert menu["choices"] == [("English", "eng"), ("Haitian creole", "hat")]
    assert (menu["value"], menu["visible"]) == ("eng", True)
    assert languages(page, "hat")["value"] == "hat"
    server.offers = {"base": {**base, "identifies_language": True}}
    assert languages(page, "xyz")["choices"][0] == (FIND_OUT, AUTO)

    async def last() -> None:
        async for _ in page.transcribe(recording, "child", None, VISIT, None, "hat"):
            pass

    asyncio.run(last())
    asyncio.run(page.subtitles(recording, asked(), None, "hat"))
    assert server.languages == [b"hat"] * 3


def test_a_recording_of_one_s_own_has_no_reference(page: Page, recording: str) -> None:
    page.fill(None, None)
    result, *_ = transcribe(page, recording, "child", None)
    assert "What was said" not in result
    assert "With domain child" in result


def test_without_a_domain_the_base_stands_alone(page: Page, recording: str, server: FakeServer) -> None:
    assert "With domain" not in transcribe(page, recording, None, None)[0]
    assert server.asked.count("/v1/audio/transcriptions") == 1


def test_without_a_recording_it_says_what_to_do(page: Page) -> None:
    assert "no recording yet" in transcribe(page, None, "child", None)[0]


def test_a_server_that_went_away_is_told_in_words_by_every_event(
    page: Page, server: FakeServer, recording: str
) -> None:
    page.fill(None, None)
    server.down = True
    told = [
        page.fill(None, None)[-1],
        page.describe("child"),
        page.fetch("child/a", VISIT)[2],
        transcribe(page, recording, "child", None)[0],
    ]
    assert all('role="alert"' in each and "does not answer" in each for each in told)


def asked(**data: Any) -> gr.EventData:
    """The event of a button of a file."""
    return gr.EventData(None, {"format": "srt", "domain": None, "name": "own-base.srt", **data})


def test_a_transcription_asks_the_server_once_and_subtitles_when_they_are_wanted(
    page: Page, server: FakeServer, recording: str
) -> None:
    *_, transcribed = transcribe(page, recording, None, None)
    assert len(server.asked) == 1
    assert subtitles(page, transcribed, asked()) == {"name": "own-base.srt", "content": "subtitles of None"}
    file = subtitles(page, transcribed, asked(domain="child@sha256:bb", name="own-child.srt"))
    assert file == {"name": "own-child.srt", "content": "subtitles of child"}
    assert len(server.asked) == 3


@pytest.mark.parametrize("transcribed", [True, False])
def test_a_file_that_is_not_offered_is_refused(
    page: Page, recording: str, server: FakeServer, transcribed: bool
) -> None:
    with pytest.raises(gr.Error, match="no such file"):
        subtitles(page, recording if transcribed else None, asked(format="json" if transcribed else "srt"))
    assert server.asked == []


def test_subtitles_of_a_server_that_went_away_are_told_in_words(
    page: Page, server: FakeServer, recording: str
) -> None:
    server.down = True
    with pytest.raises(gr.Error, match="does not answer"):
        subtitles(page, recording, asked())


class SlowServer(FakeServer):
    """Answers transcriptions when told to, and notes those whose client has left."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.given_up = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:  # type: ignore[override]
        if request.url.path != "/v1/audio/transcriptions":
            return super().__call__(request)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return super().__call__(request)


async def follow(
    page: Page, recording: str | None, visit: str, shown: list[Shown], example: str | None = None
) -> None:
    async for each in page.transcribe(recording, "child", example, gr.Request(session_hash=visit)):
        shown.append(each)


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.01)


@pytest.fixture
def slow(page: Page, monkeypatch: pytest.MonkeyPatch) -> SlowServer:
    server = SlowServer()
    client = ServerClient("http://server.test", transport=httpx.MockTransport(server))  # type: ignore[arg-type]
    monkeypatch.setattr(page, "_client", client)
    monkeypatch.setattr(ui.page, "PROGRESS_S", 0.01)
    return server


def test_a_transcription_tells_its_pieces_and_then_its_words(
    page: Page, slow: SlowServer, recording: str
) -> None:
    shown: list[Shown] = []

    async def visit() -> None:
        running = asyncio.create_task(follow(page, recording, "one", shown))
        await until(lambda: "2 of 8 pieces" in shown[-1][0] if shown else False)  # of both requests
        slow.go.set()
        await running

    asyncio.run(visit())
    assert "With domain child" in shown[-1][0]
    assert slow.given_up == 0


def test_an_example_that_is_transcribed_at_once_is_not_stopped_by_its_own_arrival(
    page: Page, slow: SlowServer, recording: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The player gets it while it is transcribed already: that emptied the page, and said nothing."""
    shown: list[Shown] = []
    monkeypatch.setattr(page._clips, "fetch", lambda *_: Path(recording))
    monkeypatch.setattr(page._clips, "words", lambda *_: None)

    async def visit() -> None:
        running = asyncio.create_task(follow(page, None, "one", shown, example="child/a"))
        await until(lambda: shown)
        audio, domain, *results = await asyncio.to_thread(
            page.fetch, "child/a", gr.Request(session_hash="one")
        )
        assert domain == "child"
        assert Path(audio).exists()
        assert results == [gr.skip()] * 3
        slow.go.set()
        await running

    asyncio.run(visit())
    assert "With domain child" in shown[-1][0]
    assert slow.given_up == 0


@pytest.mark.parametrize("ending", ["cancel", "clear", "leave"])
def test_a_transcription_that_nobody_waits_for_ends_its_requests_and_no_other_visitor_s(
    page: Page, slow: SlowServer, recording: str, ending: str
) -> None:
    mine: list[Shown] = []
    theirs: list[Shown] = []

    async def visits() -> None:
        one = asyncio.create_task(follow(page, recording, "one", mine))
        other = asyncio.create_task(follow(page, recording, "other", theirs))
        await until(lambda: mine and theirs)
        await asyncio.to_thread(getattr(page, ending), gr.Request(session_hash="one"))
        await one
        assert not other.done()
        slow.go.set()
        await other

    asyncio.run(visits())
    assert (CANCELLED in mine[-1][0]) == (ending == "cancel")  # nobody has cancelled otherwise
    assert WELCOME in mine[-1][0]
    assert slow.given_up == 2
    assert "With domain child" in theirs[-1][0]


def test_words_that_come_after_another_choice_was_made_are_not_shown(
    page: Page, slow: SlowServer, recording: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Shown] = []
    slow.go.set()
    both = page._both

    async def both_and_then_another_choice(*asked: Any) -> Any:
        result = await both(*asked)
        page._running.pop("one")  # as `clear` does
        return result

    monkeypatch.setattr(page, "_both", both_and_then_another_choice)
    asyncio.run(follow(page, recording, "one", shown))
    assert CANCELLED not in shown[-1][0]
    assert WELCOME in shown[-1][0]
    assert shown[-1][1:] == ("", None)


@pytest.fixture(scope="module")
def html() -> str:
    """The page as a browser gets it, from a process of its own: gradio leaves event loops open in its own."""
    probe = (
        "from fastapi import FastAPI\n"
        "from fastapi.testclient import TestClient\n"
        "from ui.app import mount\n"
        "app = FastAPI()\n"
        "mount(app, path='/ui', server_url='http://127.0.0.1:9', max_file_size=1000)\n"
        "print(TestClient(app).get('/ui/').raise_for_status().text)\n"
    )
    return subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout


def test_the_page_loads_nothing_from_elsewhere_and_sends_no_analytics(html: str) -> None:
    loaded = re.findall(r'(?:src|href)="(https?://[^"]+)"|url\((https?://[^)]+)\)', html)
    hosts = {httpx.URL(first or second).host for first, second in loaded}
    assert hosts <= {"testserver"}
    assert '"analytics_enabled":false' in html.replace(" ", "")


def test_the_light_half_of_the_page_needs_neither_torch_nor_gradio() -> None:
    probe = (
        "import sys, ui.ui_command, ui.client, ui.render\n"
        "sys.exit(bool({'torch', 'gradio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_the_command_refuses_a_server_that_is_not_there() -> None:
    with pytest.raises(SsvdError, match=r"http://127\.0\.0\.1:9 does not answer.*`ssvd serve` starts it"):
        ui_command.main(["--server", "http://127.0.0.1:9"])


def test_the_command_launches_the_page_for_the_server_it_is_given(
    monkeypatch: pytest.MonkeyPatch, server: FakeServer
) -> None:
    launched: list[Any] = []
    transport = httpx.MockTransport(server)
    monkeypatch.setattr("ui.client.ServerClient", lambda url: ServerClient(url, transport=transport))
    monkeypatch.setattr("ui.app.launch", lambda client, host, port: launched.append((client.url, host, port)))
    assert ui_command.main(["--server", "http://server.test", "--port", "7861"]) == 0
    assert launched == [("http://server.test", "127.0.0.1", 7861)]
