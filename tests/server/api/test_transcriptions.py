"""POST /v1/audio/transcriptions: OpenAI's request and reply, refusals by name, provenance on all."""

from __future__ import annotations

import errno
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from server.api.form import FORMATS
from server.bank.packed import PackedAdapter
from server.settings import ServerSettings
from ssvd_asr.base.prompt import IDENTIFIED
from ssvd_asr.errors import AdapterUnreadableError
from tests.server.fakes import BASE, DIGEST, TIMEOUT_S, FakeRecogniser, read_packed, write_adapter
from tests.speechlike import phrases, wav_bytes

OPENAI_SEGMENT = {
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio",
    "no_speech_prob",
}  # fmt: skip
URL = "/v1/audio/transcriptions"

VAD = {"chunking_strategy[type]": "server_vad"}


def post(client: TestClient, clip: bytes, **fields: Any) -> httpx.Response:
    return client.post(URL, files={"file": ("clip.wav", clip)}, data=fields)  # type: ignore[return-value]


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error, after checking that it has OpenAI's shape and nothing else."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    error: dict[str, Any] = body["error"]
    return error


def test_json_has_the_text_and_what_made_it(client: TestClient, store: AdapterStore, clip: bytes) -> None:
    response = post(client, clip, domain="child")
    assert response.status_code == 200
    assert response.json() == {
        "text": "child words of version 2",
        "ssvd": {
            "base": BASE,
            "base_digest": DIGEST,
            "domain": "child",
            "adapter_version": 2,
            "adapter_sha256": store.resolve("child").sha256,
            "decoding": [{"start": 0.0, "end": 2.0, "search": "greedy", "doubt_nats": 0.5}],
            "warnings": [],
        },
        "usage": {"type": "duration", "seconds": 2.0},
    }


def test_a_domain_whose_disk_hangs_holds_up_nobody_else(
    client: TestClient, recogniser: FakeRecogniser, settings: ServerSettings, clip: bytes
) -> None:
    loading, go = threading.Semaphore(0), threading.Event()

    def hang(version: Version) -> PackedAdapter:
        loading.release()
        assert go.wait(TIMEOUT_S)
        return read_packed(version)

    assert post(client, clip, domain="scottish").status_code == 200
    recogniser.read = hang
    with ThreadPoolExecutor() as threads:
        stuck = [threads.submit(post, client, clip, domain="child") for _ in range(settings.max_decoders + 1)]
        assert loading.acquire(timeout=TIMEOUT_S)
        for domain in ({}, {"domain": "scottish"}):
            assert post(client, clip, **domain).status_code == 200
        assert not any(each.done() for each in stuck)
        go.set()
        assert [each.result(TIMEOUT_S).status_code for each in stuck] == [200] * len(stuck)


def test_clients_at_once_get_the_words_that_each_gets_alone(client: TestClient, clip: bytes) -> None:
    asked = [{}, {"domain": "child"}, {"domain": "scottish"}, {"domain": "child*0.5"}] * 3
    alone = [post(client, clip, **fields).json() for fields in asked]
    with ThreadPoolExecutor(len(asked)) as threads:
        sent = [threads.submit(post, client, clip, **fields) for fields in asked]
        assert [each.result(TIMEOUT_S).json() for each in sent] == alone


def test_without_a_domain_the_base_answers_and_says_so(client: TestClient, clip: bytes) -> None:
    body = post(client, clip).json()
    assert body["text"] == "base words"
    assert body["ssvd"]["domain"] is None
    assert body["ssvd"]["adapter_sha256"] is None


@pytest.mark.parametrize("response_format", FORMATS)
def test_every_format_names_the_bytes_in_its_headers(
    client: TestClient, store: AdapterStore, clip: bytes, response_format: str
) -> None:
    headers = post(client, clip, domain="scottish", response_format=response_format).headers
    assert headers["X-SSVD-Base"] == BASE
    assert headers["X-SSVD-Base-Digest"] == DIGEST
    assert headers["X-SSVD-Domain"] == "scottish"
    assert headers["X-SSVD-Adapter-Version"] == "1"
    assert headers["X-SSVD-Adapter-SHA256"] == store.resolve("scottish").sha256
    assert "X-SSVD-Domain" not in post(client, clip, response_format=response_format).headers


def test_text_is_plain_text(client: TestClient, clip: bytes) -> None:
    response = post(client, clip, domain="child", response_format="text")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "child words of version 2\n"


def test_verbose_json_has_duration_language_and_timed_segments(client: TestClient) -> None:
    wave = phrases(2)
    body = post(client, wav_bytes(wave), response_format="verbose_json", language="en").json()
    assert body["task"] == "transcribe"
    assert body["language"] == "english"
    assert body["usage"] == {"type": "duration", "seconds": 9.0}
    assert "words" not in body
    assert body["duration"] == pytest.approx(9.0)
    assert [segment["id"] for segment in body["segments"]] == list(range(len(body["segments"])))
    assert len(body["segments"]) > 1
    for segment in body["segments"]:
        assert 0 <= segment["start"] < segment["end"] <= 9.0
        assert segment["text"] == "base words"
        assert set(segment) == OPENAI_SEGMENT
        assert segment["compression_ratio"] == pytest.approx(10 / 18, abs=1e-3)
        assert 0 <= segment["no_speech_prob"] < 0.7  # the voice detector heard it


@pytest.mark.parametrize(
    ("granularities", "fields"),
    [
        ([], {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"words", "segments"}),
    ],
)
def test_granularities_choose_the_times_that_verbose_json_lists(
    client: TestClient, clip: bytes, granularities: list[str], fields: set[str]
) -> None:
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": granularities}
    body = post(client, clip, **asked).json()
    assert {"words", "segments"} & set(body) == fields
    for word in body.get("words", []):
        assert set(word) == {"word", "start", "end", "confidence"}
        assert 0 <= word["start"] <= word["end"] <= body["duration"]


def test_warnings_reach_every_json_reply(client: TestClient, recogniser: FakeRecogniser, clip: bytes) -> None:
    recogniser.warnings = ("0.00 to 2.00 s: no word times: for a reason",)
    for kind in ("json", "verbose_json"):
        assert post(client, clip, response_format=kind).json()["ssvd"]["warnings"] == [*recogniser.warnings]


@pytest.mark.parametrize("response_format", [each for each in FORMATS if each != "verbose_json"])
def test_granularities_in_a_format_without_a_list_of_times_are_refused(
    client: TestClient, clip: bytes, response_format: str
) -> None:
    fields = {"response_format": response_format, "timestamp_granularities[]": "word"}
    error = refusal(post(client, clip, **fields), 422)
    assert error["param"] == "timestamp_granularities"
    assert "verbose_json" in error["message"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": BASE}, None),
        ({"model": f"{BASE}:child"}, ("child", 2)),
        ({"model": f"{BASE}:child@1"}, ("child", 1)),
        ({"domain": "child@1"}, ("child", 1)),
        ({"model": BASE, "domain": "child"}, ("child", 2)),
        ({"model": f"{BASE}:child", "domain": "child"}, ("child", 2)),
        ({"model": f"{BASE}:child", "domain": "child@1"}, ("child", 1)),
        ({"model": f"{BASE}:child@1", "domain": "child"}, ("child", 1)),
    ],
)
def test_model_and_domain_name_a_domain_alone_or_together(
    client: TestClient, clip: bytes, fields: dict[str, str], expected: tuple[str, int] | None
) -> None:
    made_by = post(client, clip, **fields).json()["ssvd"]
    assert (made_by["domain"], made_by["adapter_version"]) == (expected or (None, None))


@pytest.mark.parametrize(
    ("fields", "status", "param", "words"),
    [
        ({"domain": "klingon"}, 404, "domain", "klingon"),
        ({"domain": "child@7"}, 404, "domain", "child"),
        ({"domain": "../../etc/passwd"}, 404, "domain", "etc/passwd"),
        ({"model": f"{BASE}:klingon"}, 404, "domain", "klingon"),
        ({"model": "whisper-1"}, 404, "model", "whisper-1"),
        ({"domain": " "}, 400, "domain", "empty"),
        ({"language": "en-klingonese"}, 422, "language", "en-US"),
        ({"language": "e"}, 422, "language", "english"),
        ({"model": f"{BASE}:"}, 400, "model", "no domain"),
        ({"model": f"{BASE}:child", "domain": "scottish"}, 400, "domain", "scottish"),
        ({"domain": "child@2", "model": f"{BASE}:child@1"}, 400, "domain", "child@1"),
        ({"response_format": "diarized_json"}, 422, "response_format", "diarized_json"),
        ({"response_format": "xml"}, 422, "response_format", "xml"),
        ({"prompt": 1001 * "a"}, 422, "prompt", "SSVD_MAX_PROMPT_CHARS"),
        ({"temperature": "0.7"}, 422, "temperature", "0.7"),
        ({"temperature": "warm"}, 400, "temperature", "warm"),
        ({"stream": "true", "response_format": "srt"}, 422, "stream", "srt comes whole"),
        ({"stream": "true", "channel": "each"}, 422, "stream", "channel=each"),
        ({"keywords[]": "C#"}, 422, "keywords", "'#'"),
        ({"known_speaker_names[]": "agent"}, 422, "known_speaker_names", "not told apart"),
        ({"known_speaker_references[]": "data:"}, 422, "known_speaker_references", "not told apart"),
        ({"languages[]": ["en", "nl"], "language": "en"}, 400, "languages", "both given"),
        ({"languages[]": "Klingon"}, 422, "languages", "no language"),
        ({"timestamp_granularities[]": "word"}, 422, "timestamp_granularities", "word"),
        (
            {"timestamp_granularities[]": "page", "response_format": "verbose_json"},
            422,
            "timestamp_granularities",
            "page",
        ),
        ({"include[]": "logprobs", "response_format": "text"}, 422, "include", "response_format=json"),
        ({"include[]": "item.input"}, 422, "include", "use logprobs"),
        ({"chunking_strategy": "server_vad"}, 422, "chunking_strategy", "server_vad"),
        ({"chunking_strategy[threshold]": "0.5"}, 400, "chunking_strategy[type]", "missing"),
        ({"chunking_strategy[type]": "client_vad"}, 400, "chunking_strategy[type]", "client_vad"),
        ({**VAD, "chunking_strategy[threshold]": "1.5"}, 400, "chunking_strategy[threshold]", "1.5"),
        ({**VAD, "chunking_strategy[threshold]": "nan"}, 400, "chunking_strategy[threshold]", "nan"),
        (
            {**VAD, "chunking_strategy[silence_duration_ms]": "-1"},
            400,
            "chunking_strategy[silence_duration_ms]",
            "-1",
        ),
        (
            {**VAD, "chunking_strategy[prefix_padding_ms]": "long"},
            400,
            "chunking_strategy[prefix_padding_ms]",
            "long",
        ),
        ({**VAD, "chunking_strategy[beam]": "5"}, 400, "chunking_strategy[beam]", "silence_duration_ms"),
        ({**VAD, "chunking_strategy": "auto"}, 400, "chunking_strategy", "twice"),
        ({"best_of": "5"}, 400, "best_of", "response_format"),
        ({"language": "klingon"}, 422, "language", "klingon"),
        ({"language": "asr"}, 422, "language", "asr"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    client: TestClient,
    recogniser: FakeRecogniser,
    clip: bytes,
    fields: dict[str, str],
    status: int,
    param: str,
    words: str,
) -> None:
    error = refusal(post(client, clip, **fields), status)
    assert error["param"] == param
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert recogniser.pieces == []  # never the base as a stand-in


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "0", "stream": "false", "prompt": ""},
        dict.fromkeys(("model", "domain", "language", "response_format", "temperature", "stream"), ""),
        {"timestamp_granularities[]": "", "include[]": "", "chunking_strategy": "", "prompt": ""},
        {"timestamp_granularities[]": "segment", "response_format": "verbose_json"},
        {"chunking_strategy": "auto", "language": "nl"},
        {"chunking_strategy[type]": "server_vad"},
    ],
)
def test_openai_fields_with_harmless_values_are_accepted(
    client: TestClient, clip: bytes, fields: dict[str, str]
) -> None:
    assert post(client, clip, **fields).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "symbol", "name"),
    [
        ("en-US", "<eng>", "english"),
        ("en_GB", "<eng>", "english"),
        ("english", "<eng>", "english"),
        ("ENG", "<eng>", "english"),
        ("Dutch", "<nld>", "dutch"),
        ("nl-Latn-BE", "<nld>", "dutch"),
        ("es-419", None, None),
    ],
)
def test_a_language_is_a_code_a_code_with_a_region_or_a_name(
    client: TestClient,
    recogniser: FakeRecogniser,
    clip: bytes,
    wanted: str,
    symbol: str | None,
    name: str | None,
) -> None:
    response = post(client, clip, language=wanted, response_format="verbose_json")
    if symbol is None:  # understood, and the base has it not
        assert "no language 'es-419' (spanish, es, spa)" in refusal(response, 422)["message"]
        return
    assert [piece.language for piece in recogniser.pieces] == [symbol]
    assert response.json()["language"] == name
    assert response.json()["ssvd"]["warnings"] == []


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
def test_a_language_left_to_a_base_that_identifies_it_is_in_the_reply(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, response_format: str
) -> None:
    recogniser.identifies_language = True
    recogniser.hears = "<nld>"
    body = post(client, clip, language="AUTO", response_format=response_format).json()
    assert [piece.language for piece in recogniser.pieces] == [IDENTIFIED]
    assert body.get("language", "dutch") == "dutch"
    assert body["ssvd"]["warnings"] == []


@pytest.mark.parametrize("response_format", ["json", "verbose_json"])
def test_a_language_left_to_the_server_is_said_where_it_was_assumed(
    client: TestClient, clip: bytes, response_format: str
) -> None:
    (warning,) = post(client, clip, language="auto", response_format=response_format).json()["ssvd"][
        "warnings"
    ]
    assert "english was assumed" in warning


def test_server_vad_says_how_long_a_silence_ends_a_piece(
    client: TestClient, recogniser: FakeRecogniser
) -> None:
    audio = wav_bytes(phrases(2, 1.0, gap_s=1.0))
    for silence_ms, pieces in ((300, 2), (2000, 1)):
        recogniser.pieces.clear()
        wanted = {**VAD, "chunking_strategy[silence_duration_ms]": str(silence_ms)}
        assert post(client, audio, **wanted).status_code == 200
        assert len(recogniser.pieces) == pieces


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [(" dear children ", "dear children"), ("", None), (" ", None), ("a" * 1000, "a" * 1000)],
)
def test_a_prompt_is_what_was_said_before_the_audio(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, prompt: str, expected: str | None
) -> None:
    assert post(client, clip, prompt=prompt).status_code == 200
    assert [piece.previous_text for piece in recogniser.pieces] == [expected]


def test_a_base_that_knows_no_previous_text_is_not_given_one(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes
) -> None:
    """owsm-nano answers a prompt with an empty transcript: what was said would be lost without a word."""
    recogniser.knows_previous_text = False
    error = refusal(post(client, clip, prompt="the small boat"), 422)
    assert (error["param"], error["code"]) == ("prompt", "prompt_unsupported")
    assert BASE in error["message"]
    assert recogniser.pieces == []
    assert post(client, clip, prompt=" ").status_code == 200


def test_a_form_without_a_file_or_with_two_is_refused(client: TestClient, clip: bytes) -> None:
    text_file = client.post(URL, files={"file": (None, "just text")})
    assert refusal(text_file, 400)["param"] == "file"  # type: ignore[arg-type]
    missing = client.post(URL, files={"domain": (None, "child")})
    assert refusal(missing, 400)["message"] == "file is missing"  # type: ignore[arg-type]
    two = client.post(URL, files=[("file", ("a.wav", clip)), ("file", ("b.wav", clip))])
    refusal(two, 400)  # type: ignore[arg-type]
    elsewhere = client.post(URL, files={"audio": ("a.wav", clip)})
    assert refusal(elsewhere, 400)["param"] == "audio"  # type: ignore[arg-type]
    fields = [("domain", (None, "a")), ("domain", (None, "b"))]
    twice = client.post(URL, files=[("file", ("a.wav", clip)), *fields])
    assert refusal(twice, 400)["param"] == "domain"  # type: ignore[arg-type]


def test_a_body_of_another_kind_is_refused(client: TestClient) -> None:
    assert refusal(client.post(URL, json={"url": "http://x"}), 415)["code"] == "not_multipart"  # type: ignore[arg-type]
    broken = client.post(URL, content=b"--x\r\nrubbish", headers={"content-type": "multipart/form-data"})
    refusal(broken, 400)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"RIFF", b"These are words, not sounds. " * 100, b"\x00" * 5000])
def test_what_is_not_audio_is_415(client: TestClient, content: bytes) -> None:
    assert refusal(post(client, content), 415)["code"] == "audio_unreadable"


def test_audio_over_the_limit_is_422_and_names_limit_and_setting(client: TestClient) -> None:
    error = refusal(post(client, wav_bytes(np.zeros(16_000 * 21, np.float32))), 422)
    assert error["code"] == "audio_too_long"
    assert "20.0 s (SSVD_MAX_DURATION_S)" in error["message"]


@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_over_the_limit_is_413_whatever_it_declares(client: TestClient, declared: bool) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + bytes(2_500_000)
    chunks = (body[i : i + 65_536] for i in range(0, len(body), 65_536))
    response = client.post(
        URL, content=body if declared else chunks, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    error = refusal(response, 413)  # type: ignore[arg-type]
    assert error["param"] == "file"
    assert "2000000 bytes (SSVD_MAX_UPLOAD_BYTES)" in error["message"]


def test_the_upload_limit_holds_on_every_route(client: TestClient) -> None:
    assert refusal(client.post("/v1/models", content=bytes(2_500_000)), 413)["code"] == "upload_too_large"  # type: ignore[arg-type]


def test_a_refused_adapter_is_500_with_the_reason(
    client: TestClient,
    store: AdapterStore,
    recogniser: FakeRecogniser,
    clip: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recogniser.refuse.add(store.resolve("scottish").sha256)
    error = refusal(post(client, clip, domain="scottish"), 500)
    assert error["code"] == "adapter_refused"
    assert "another planet" in error["message"]
    assert error["type"] == "server_error"
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("domain", ["scottish", "scottish@1", "scottish*0.5", "child*0.5+scottish*0.5"])
def test_a_domain_of_another_base_is_the_request_s_mistake_each_time(
    client: TestClient, store: AdapterStore, recogniser: FakeRecogniser, clip: bytes, domain: str
) -> None:
    """A client that retries every 500, as OpenAI's does, would ask for it again and again."""
    recogniser.foreign.add(store.resolve("scottish").sha256)
    for fields in ({}, {}, {"stream": "true"}):  # the second time its file is not read again
        error = refusal(post(client, clip, domain=domain, **fields), 422)
        assert (error["code"], error["param"]) == ("wrong_base", "domain")


def test_a_store_that_cannot_be_read_is_told_in_one_line_of_the_log(
    client: TestClient, clip: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(path: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", denied)
    error = refusal(post(client, clip, domain="child"), 500)
    assert error["code"] == "store_damaged"
    assert "Permission denied" in error["message"]
    assert not [record for record in caplog.records if record.exc_info]


def test_a_disk_that_fails_is_503_and_the_next_request_tries_again(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(version: Version) -> PackedAdapter:
        raise AdapterUnreadableError(f"{version.reference}: its file cannot be read: [Errno 5]")

    with monkeypatch.context() as failing:
        failing.setattr(recogniser, "read", fail)
        response = post(client, clip, domain="scottish")
    error = refusal(response, 503)
    assert error["code"] == "not_loaded"
    assert "its file cannot be read" in error["message"]
    assert response.headers["retry-after"] == "1"
    assert post(client, clip, domain="scottish").status_code == 200


def test_a_fault_of_ours_is_500_in_the_same_shape(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    recogniser.fail = ZeroDivisionError("secret detail")
    with caplog.at_level(logging.CRITICAL):
        error = refusal(post(client, clip), 500)
    assert error["code"] == "internal_error"
    assert "ZeroDivisionError" in error["message"]
    assert "secret detail" not in error["message"]


def test_two_files_and_an_empty_one_are_refused_by_the_fields_name(client: TestClient, clip: bytes) -> None:
    two = [("file", ("one.wav", clip)), ("file", ("two.wav", clip))]
    error = refusal(client.post(URL, files=two), 400)  # type: ignore[arg-type]
    assert (error["param"], error["code"]) == ("file", "invalid_value")
    assert "twice" in error["message"]
    error = refusal(post(client, b""), 415)
    assert (error["param"], error["code"]) == ("file", "audio_unreadable")
    assert "0 bytes" in error["message"]


def test_a_blend_names_its_parts_versions_and_weights(
    client: TestClient, store: AdapterStore, clip: bytes
) -> None:
    blend = "child*0.8+scottish@1*0.5"
    response = post(client, clip, domain=blend)
    child, scottish = store.resolve("child"), store.resolve("scottish")
    made_by = response.json()["ssvd"]
    assert (made_by["domain"], made_by["adapter_version"]) == ("child*0.8+scottish*0.5", None)
    assert made_by["parts"] == [
        {"domain": "child", "adapter_version": 2, "adapter_sha256": child.sha256, "weight": 0.8},
        {"domain": "scottish", "adapter_version": 1, "adapter_sha256": scottish.sha256, "weight": 0.5},
    ]
    headers = response.headers
    assert headers["X-SSVD-Domain"] == "child*0.8+scottish*0.5"
    assert headers["X-SSVD-Adapter-SHA256"] == made_by["adapter_sha256"]
    assert "X-SSVD-Adapter-Version" not in headers
    assert headers["X-SSVD-Parts"] == (
        f"child@2*0.8 sha256:{child.sha256}, scottish@1*0.5 sha256:{scottish.sha256}"
    )
    again = post(client, clip, model=f"{BASE}:scottish*0.5 + child*.8", response_format="text")
    assert again.headers["X-SSVD-Adapter-SHA256"] == made_by["adapter_sha256"]


@pytest.mark.parametrize(
    ("blend", "status", "code", "words"),
    [
        ("child*0.5+klingon*0.5", 404, "domain_not_found", "klingon"),
        ("child@9*0.5", 404, "domain_not_found", "versions 9"),
        ("child*0.5*2", 400, "invalid_blend", "is no blend"),
        ("child*-1", 400, "invalid_blend", "a decimal number of 0.0001 to 2"),
        ("child*0.5+child*0.2", 400, "invalid_blend", "the same adapter"),
        ("+".join(["child*0.1"] * 5), 400, "invalid_blend", "the most is 4"),
        ("child*0.5+small*0.5", 422, "forms_differ", "cannot be blended"),
    ],
)
def test_a_blend_that_cannot_be_is_refused_in_words(
    client: TestClient, store: AdapterStore, clip: bytes, tmp_path: Path,
    blend: str, status: int, code: str, words: str,
) -> None:  # fmt: skip
    store.publish("small", write_adapter(tmp_path / "small", 5, loud=1, k=1))
    error = refusal(post(client, clip, domain=blend), status)
    assert (error["param"], error["code"]) == ("domain", code)
    assert words in error["message"]


def test_a_model_and_a_blend_of_it_contradict_each_other(client: TestClient, clip: bytes) -> None:
    error = refusal(post(client, clip, model=f"{BASE}:child", domain="child@2*0.5"), 400)
    assert error["code"] == "contradiction"
