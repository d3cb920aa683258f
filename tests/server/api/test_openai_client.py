"""The `openai` client, unmodified, is the judge of the API; and clients that misbehave on a real socket."""

from __future__ import annotations

import io
import json
import logging
import socket
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPResponse
from urllib.parse import urlsplit

import httpx
import openai
import pysubs2
import pytest
from openai.types.audio import TranscriptionVerbose

from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from tests.server.fakes import BASE, DIGEST, FakeRecogniser, wait_until
from tests.server.live import listening
from tests.speechlike import phrases, wav_bytes


@pytest.fixture
def url(settings: ServerSettings, engine: Engine) -> Iterator[str]:
    with listening(create_app(settings, engine)) as url:
        yield url


@pytest.fixture
def api(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_transcribes_in_every_format(api: openai.OpenAI, store: AdapterStore, clip: bytes) -> None:
    file = ("clip.wav", clip)
    plain = api.audio.transcriptions.create(file=file, model=f"{BASE}:child")
    assert plain.text == "child words of version 2"
    assert plain.ssvd["adapter_sha256"] == store.resolve("child").sha256  # type: ignore[attr-defined]
    text = api.audio.transcriptions.create(file=file, model=BASE, response_format="text")
    assert text == "base words\n"
    verbose = api.audio.transcriptions.create(
        file=file,
        model=BASE,
        response_format="verbose_json",
        timestamp_granularities=["segment"],
        language="en",
        temperature=0,
    )
    assert verbose.duration == pytest.approx(2.0)
    assert verbose.segments is not None
    assert [segment.text for segment in verbose.segments] == ["base words"]
    assert verbose.language == "english"
    assert verbose.usage is not None
    assert verbose.usage.seconds == pytest.approx(2.0)


def test_all_formats_say_the_same_words(api: openai.OpenAI) -> None:
    wave = phrases(2)
    ask = partial(api.audio.transcriptions.create, file=("clip.wav", wav_bytes(wave)), model=f"{BASE}:child")
    words = ["child", "words", "of", "version", "2", "child", "words", "of", "version", "2"]
    assert ask().text.split() == words
    assert ask(response_format="text").split() == words
    verbose = ask(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert isinstance(verbose, TranscriptionVerbose)
    assert verbose.segments is not None
    assert verbose.words is not None
    assert verbose.text.split() == " ".join(segment.text for segment in verbose.segments).split() == words
    assert [word.word for word in verbose.words] == words
    times = [time for word in verbose.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= verbose.duration
    for kind in ("srt", "vtt"):
        cues = pysubs2.SSAFile.from_string(ask(response_format=kind), kind)  # type: ignore[arg-type]
        assert " ".join(cue.plaintext for cue in cues).split() == words


def test_takes_domain_as_an_extra_field(api: openai.OpenAI, clip: bytes) -> None:
    made = api.audio.transcriptions.create(
        file=io.BytesIO(clip), model=BASE, extra_body={"domain": "scottish"}
    )
    assert made.text == "scottish words of version 1"


def test_provenance_stands_in_the_headers(api: openai.OpenAI, clip: bytes) -> None:
    raw = api.audio.transcriptions.with_raw_response.create(
        file=("clip.wav", clip), model=f"{BASE}:child@1", response_format="text"
    )
    assert raw.headers["X-SSVD-Base-Digest"] == DIGEST
    assert raw.headers["X-SSVD-Adapter-Version"] == "1"


def test_lists_models(api: openai.OpenAI) -> None:
    assert [model.id for model in api.models.list()] == [BASE, f"{BASE}:child", f"{BASE}:scottish"]
    assert api.models.retrieve(f"{BASE}:child").object == "model"


def test_raises_its_own_errors(api: openai.OpenAI, engine: Engine, clip: bytes) -> None:
    file = ("clip.wav", clip)
    with pytest.raises(openai.NotFoundError, match="klingon") as unknown:
        api.audio.transcriptions.create(file=file, model=f"{BASE}:klingon")
    assert unknown.value.code == "domain_not_found"
    assert unknown.value.param == "domain"
    with pytest.raises(openai.UnprocessableEntityError, match="diarized_json"):
        api.audio.transcriptions.create(file=file, model=BASE, response_format="diarized_json")
    with pytest.raises(openai.BadRequestError, match="speed"):
        api.audio.transcriptions.create(file=file, model=BASE, extra_body={"speed": "2"})
    engine.drain()
    with pytest.raises(openai.InternalServerError, match="stopping"):
        api.audio.transcriptions.create(file=file, model=BASE)


def test_an_upload_over_the_limit_is_answered_and_not_cut_off(
    api: openai.OpenAI, settings: ServerSettings
) -> None:
    """The client is still sending when the server knows; it must find the answer, not a broken pipe."""
    with pytest.raises(openai.APIStatusError, match="SSVD_MAX_UPLOAD_BYTES") as refused:
        api.audio.transcriptions.create(file=("a.wav", bytes(settings.max_upload_bytes + 1000)), model=BASE)
    assert refused.value.status_code == 413


@pytest.mark.parametrize("expects", ["", "Expect: 100-continue\r\n"])
@pytest.mark.parametrize(
    ("route", "setting"),
    [
        ("/v1/audio/transcriptions", "SSVD_MAX_UPLOAD_BYTES"),
        ("/v1/domains/child/versions", "SSVD_MAX_ADAPTER_BYTES"),
    ],
)
def test_an_upload_that_says_it_is_over_the_limit_is_answered_before_it_is_sent(
    url: str, settings: ServerSettings, route: str, setting: str, expects: str
) -> None:
    limit = settings.max_upload_bytes if "UPLOAD" in setting else settings.max_adapter_bytes
    address = urlsplit(url)
    head = f"POST {route} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {limit + 1}\r\n{expects}\r\n"
    with socket.create_connection((address.hostname, address.port), 30) as connection:
        connection.sendall(head.encode())
        answer = HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.headers["Connection"]) == (413, "close")
        error = json.loads(answer.read())["error"]
        assert (error["code"], setting in error["message"]) == ("upload_too_large", True)
        if expects:  # nothing comes, so the server does not wait for it
            assert connection.recv(1) == b""


def test_a_client_that_leaves_before_its_turn_is_not_decoded(
    url: str, api: openai.OpenAI, engine: Engine, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.go.clear()
    holding = _send(url, clip, "child")  # on the device until `go`
    assert recogniser.started.acquire(timeout=30)
    leaving = _send(url, clip, "scottish")
    wait_until(lambda: engine.waiting_s > 0)
    leaving.close()
    wait_until(lambda: len(engine._unfinished) == 1)
    recogniser.go.set()
    assert api.audio.transcriptions.create(file=("clip.wav", clip), model=BASE).text == "base words"
    holding.close()
    assert "scottish" not in [piece.lease.name for piece in recogniser.pieces if piece.lease]


def test_a_client_that_leaves_during_its_upload_is_one_line_of_the_log(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = urlsplit(url)
    with caplog.at_level(logging.INFO):
        with socket.create_connection((address.hostname or "", address.port or 0)) as leaving:
            leaving.sendall(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            time.sleep(0.2)
        wait_until(lambda: "server.requests" in [each.name for each in caplog.records])
        assert httpx.get(f"{url}/healthz").status_code == 200
    told = [each for each in caplog.records if each.name.startswith("server") or each.levelno > logging.INFO]
    (line,) = [each.getMessage() for each in told]
    assert "status=499" in line


def _send(url: str, clip: bytes, domain: str) -> socket.socket:
    """A whole request, whose answer nobody has read yet."""
    body = (
        f'--x\r\nContent-Disposition: form-data; name="domain"\r\n\r\n{domain}\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    ).encode() + clip + b"\r\n--x--\r\n"  # fmt: skip
    head = (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname or "", address.port or 0))
    connection.sendall(head.encode() + body)
    return connection
