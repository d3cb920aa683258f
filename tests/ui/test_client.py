"""The page's way to the server: every failure becomes a sentence, every field its type."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.api import refusals
from tests.ui import replies
from ui.client import Clip, ServerClient
from ui.refusals import ADVICE, ServerProblem

URL = "http://server.test"


def client(answer: Callable[[httpx.Request], httpx.Response]) -> ServerClient:
    return ServerClient(URL + "/", transport=httpx.MockTransport(answer))


def refusing(status: int, body: Any) -> ServerClient:
    return client(lambda _: httpx.Response(status, json=body))


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"RIFF")
    return path


DOMAIN = {
    "name": "child",
    "active_version": 3,
    "sha256": "ab" * 32,
    "builtin": True,
    "wer_before": 0.4,
    "wer_after": {"odd": 1},
    "wer_data": "valid",
    "wer_utterances": 20,
    "problem": None,
}


def test_domains_that_cannot_be_served_are_not_offered() -> None:
    body = {
        "base": {"name": "owsm-nano", "digest": "sha256:cd"},
        "data": [DOMAIN, {**DOMAIN, "name": "foreign", "problem": "made for another base"}],
    }
    catalogue = refusing(200, body).catalogue()
    assert (catalogue.base, catalogue.base_digest) == ("owsm-nano", "sha256:cd")
    assert [domain.name for domain in catalogue.domains] == ["child"]
    assert (catalogue.domains[0].wer_before, catalogue.domains[0].wer_after) == (0.4, None)


@pytest.mark.parametrize(
    ("said", "offered"), [({}, False), ({"auto": True}, True), ({"auto": "soon"}, False)]
)
def test_only_a_server_that_says_so_can_choose_a_domain(said: dict[str, Any], offered: bool) -> None:
    body = {"base": {"name": "owsm-nano", "digest": "sha256:cd"}, "data": [DOMAIN], **said}
    assert refusing(200, body).catalogue().auto is offered


def test_what_was_found_out_is_read_with_its_candidates_and_their_versions(clip_file: Path) -> None:
    server = refusing(200, replies.found_out("one clip", "child"))
    found = asyncio.run(server.transcribe(clip_file, "auto", "id"))
    (choice,) = found.choices
    assert (choice.domain, choice.version, choice.compared, choice.channel) == ("child", 2, True, None)
    assert {each.domain for each in choice.considered} == {None, "child", "scottish"}
    assert found.adapter == f"child@sha256:{replies.SHA256}"


def test_a_recording_is_sent_with_its_domain_or_without_one(clip_file: Path) -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return httpx.Response(200, json=replies.body("two words", 0.5, 1.0, domain="child"))

    result = asyncio.run(client(answer).transcribe(clip_file, "child", "id"))
    asyncio.run(client(answer).transcribe(clip_file, None, "id"))
    assert (result.text, result.domain, result.version) == ("two words", "child", 2)
    assert result.adapter == f"child@sha256:{replies.SHA256}"
    assert [word.start_s for word in result.words] == [0.5, 1.0]
    assert json.loads(result.reply)["words"]
    assert b'name="file"; filename="recording"' in bodies[0]
    assert b"clip.wav" not in bodies[0]  # the name of a visitor's file is told to nobody
    assert b'name="domain"' in bodies[0]
    assert b'name="domain"' not in bodies[1]


def test_subtitles_are_the_server_s_own_characters(clip_file: Path) -> None:
    content = "1\n00:00:00,070 --> 00:00:03,280\nrote häuser\n\n"

    def answer(request: httpx.Request) -> httpx.Response:
        assert all(part in request.read() for part in (b"srt", b"child@sha256:ab"))
        return httpx.Response(200, text=content)

    assert asyncio.run(client(answer).subtitles(clip_file, "child@sha256:ab", "srt")) == content


def test_a_clip_is_fetched_by_the_address_that_the_server_gave() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/domains/child/samples":
            return httpx.Response(200, json={"data": [{"id": "a", "text": "the cat", "url": "/clips/a"}]})
        assert str(request.url) == f"{URL}/clips/a"
        return httpx.Response(200, content=b"OggS")

    server = client(answer)
    assert server.clips("child") == (Clip("child", "a", "the cat", "/clips/a"),)
    assert server.audio(server.clips("child")[0]) == b"OggS"


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "domain_not_found", "does not know this domain"),
        (413, "upload_too_large", "too large"),
        (415, "audio_unreadable", "could not be read"),
        (422, "audio_too_long", "too long"),
        (422, "unsupported_language", "refused"),
        (429, "queue_full", "busy"),
        (500, "internal_error", "failed"),
        (503, "stopping", "stopping"),
        (503, "out_of_memory", "not enough memory"),
        (503, "not_loaded", "could not load this domain"),
    ],
)
def test_a_refusal_is_a_sentence_for_a_visitor_beside_the_server_s_reason(
    status: int, code: str, words: str, clip_file: Path
) -> None:
    server = refusing(status, {"error": {"message": "the limit is 30 s (SSVD_X)", "code": code}})
    with pytest.raises(ServerProblem, match=words) as problem:
        asyncio.run(server.transcribe(clip_file, "child", "id"))
    assert "SSVD" not in str(problem.value)
    assert problem.value.reason == "the limit is 30 s (SSVD_X)"


def test_every_code_that_the_server_has_for_a_transcription_has_its_sentence() -> None:
    codes = {code for *_, code in refusals._MEANING} - {"unsupported_language"}
    assert codes <= set(ADVICE)


@pytest.mark.parametrize("body", ["<html>", {"detail": "x"}, []])
def test_an_error_of_another_server_is_still_a_sentence(body: Any) -> None:
    with pytest.raises(ServerProblem, match="failed") as problem:
        refusing(502, body).catalogue()
    assert "502 Bad Gateway" in str(problem.value.reason)


def test_an_answer_that_is_not_json_is_told() -> None:
    with pytest.raises(ServerProblem, match="not this server's"):
        client(lambda _: httpx.Response(200, text="<html>hello</html>")).catalogue()


def test_a_server_that_is_not_there_is_told_with_how_to_start_one() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(ServerProblem, match=r"does not answer \(connection refused\).*ssvd serve"):
        client(refuse).catalogue()


def test_a_server_that_is_too_slow_is_told() -> None:
    def hang(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out", request=request)

    with pytest.raises(ServerProblem, match="too long"):
        client(hang).catalogue()
