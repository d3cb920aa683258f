"""The app as a whole: health, errors of the router, nothing on the event loop, nothing global."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from adapters_store.versions import Version
from server import app
from server.app import create_app
from server.engine.engine import Engine
from server.serve_command import ready_message
from server.settings import ServerSettings
from tests.server.api.test_transcriptions import URL, refusal
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, wait_until
from tests.server.keys.making import ring_of
from tests.server.live import listening
from tests.speechlike import phrases, wav_bytes


def test_health_and_readiness(client: TestClient, engine: Engine) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "waiting_audio_s": 0.0}
    engine.drain()
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert refusal(response, 503)["code"] == "stopping"  # type: ignore[arg-type]
    assert response.headers["Retry-After"] == "1"


def test_a_dead_device_asks_for_a_new_process(
    client: TestClient, engine: Engine, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.fail = SystemExit("the driver is gone")
    refusal(client.post(URL, files={"file": ("clip.wav", clip)}), 503)
    engine._thread.join(10)
    assert refusal(client.get("/healthz"), 503)["code"] == "dead"
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/", 404), ("GET", URL, 405), ("DELETE", "/v1/models", 405)],
)
def test_errors_of_the_router_have_the_shape_of_the_api(
    client: TestClient, method: str, path: str, status: int
) -> None:
    error = refusal(client.request(method, path), status)  # type: ignore[arg-type]
    assert path in error["message"]
    assert method in error["message"]


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/domains", "/healthz", "/readyz", "/openapi.json", "/v1/no"]
)
def test_head_has_the_status_and_headers_of_get_without_its_body(client: TestClient, path: str) -> None:
    named = {"X-Request-ID": "mine"}  # else each answer has one of its own
    head, get = client.head(path, headers=named), client.get(path, headers=named)
    assert head.status_code == get.status_code
    assert head.headers == get.headers
    assert head.content == b""


def test_a_running_request_tells_its_pieces_to_whoever_knows_its_id(
    client: TestClient, recogniser: FakeRecogniser
) -> None:
    request_id = "a-request-of-one-s-own"
    audio = wav_bytes(phrases(3, gap_s=1.0))
    files = {"file": ("clip.wav", audio)}
    recogniser.go.clear()

    def ask() -> int:
        return client.post(URL, files=files, headers={"X-SSVD-Request-ID": request_id}).status_code

    def progress() -> dict[str, int]:
        return client.get(f"/v1/progress/{request_id}").json()  # type: ignore[no-any-return]

    with ThreadPoolExecutor() as threads:
        answer = threads.submit(ask)
        assert recogniser.started.acquire(timeout=TIMEOUT_S)
        seen = progress()
        again = client.post(URL, files=files, headers={"X-SSVD-Request-ID": request_id})
        assert "in use" in refusal(again, 400)["message"]  # type: ignore[arg-type]
        recogniser.go.set()
        assert answer.result(TIMEOUT_S) == 200
    assert seen["pieces"] > 1
    assert seen["pieces_done"] == 0
    assert refusal(client.get(f"/v1/progress/{request_id}"), 404)["code"] == "request_not_found"  # type: ignore[arg-type]
    short = client.post(URL, files=files, headers={"X-SSVD-Request-ID": "short"})
    assert "16 to 64" in refusal(short, 400)["message"]  # type: ignore[arg-type]


def test_a_streamed_request_tells_its_pieces_until_the_stream_ends(
    settings: ServerSettings, engine: Engine, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.go.clear()
    form: dict[str, Any] = {"files": {"file": ("clip.wav", clip)}, "data": {"stream": "true"}}
    headers = {"X-SSVD-Request-ID": "a-stream-of-one-s-own"}
    with listening(create_app(settings, engine)) as url:
        progress = f"{url}/v1/progress/{headers['X-SSVD-Request-ID']}"
        with httpx.stream("POST", url + URL, headers=headers, timeout=TIMEOUT_S, **form) as response:
            assert response.status_code == 200  # the stream has begun
            assert httpx.get(progress).json() == {"pieces": 1, "pieces_done": 0}
            assert httpx.post(url + URL, headers=headers, timeout=TIMEOUT_S, **form).status_code == 400
            recogniser.go.set()
            assert "transcript.text.done" in response.read().decode()
        # The client has the last event before the server has ended the stream and the id is free again.
        wait_until(lambda: httpx.get(progress).status_code == 404)


ORIGIN = "https://app.example.org"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, x-stainless-os",
}


def test_pages_of_other_origins_may_call_only_if_the_setting_names_them(
    settings: ServerSettings, engine: Engine, clip: bytes
) -> None:
    with TestClient(create_app(settings, engine)) as closed:
        refusal(closed.options(URL, headers=PREFLIGHT), 405)  # type: ignore[arg-type]
        assert (
            "access-control-allow-origin" not in closed.get("/v1/models", headers={"Origin": ORIGIN}).headers
        )
    named = settings.model_copy(update={"cors_origins": f"https://other.example, {ORIGIN}"})
    with TestClient(create_app(named, engine)) as open_:
        answer = open_.options(URL, headers=PREFLIGHT)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
        for sent in (clip, bytes(2_500_000)):  # a reply, and a refusal that the page must be able to read
            reply = open_.post(URL, files={"file": ("clip.wav", sent)}, headers={"Origin": ORIGIN})
            assert reply.headers["access-control-allow-origin"] == ORIGIN
            exposed = reply.headers["access-control-expose-headers"]
            assert "X-SSVD-Base-Digest" in exposed
            assert "X-Request-ID" in exposed
        stranger = open_.options(URL, headers={**PREFLIGHT, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


def test_a_page_of_another_origin_can_read_a_fault_of_ours(
    settings: ServerSettings, engine: Engine, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.fail = ZeroDivisionError("secret detail")
    named = settings.model_copy(update={"cors_origins": ORIGIN})
    with TestClient(create_app(named, engine), raise_server_exceptions=False) as client:
        reply = client.post(URL, files={"file": ("clip.wav", clip)}, headers={"Origin": ORIGIN})
    assert refusal(reply, 500)["code"] == "internal_error"  # type: ignore[arg-type]
    assert reply.headers["access-control-allow-origin"] == ORIGIN


def test_a_full_queue_is_429_with_retry_after(
    client: TestClient,
    engine: Engine,
    recogniser: FakeRecogniser,
    clip: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine._queue, "max_audio_s", 1.0)
    response = client.post(URL, files={"file": ("clip.wav", clip)})
    error = refusal(response, 429)  # type: ignore[arg-type]
    assert error["type"] == "rate_limit_error"
    assert "SSVD_QUEUE_MAX_AUDIO_S" in error["message"]
    assert int(response.headers["Retry-After"]) >= 1
    assert recogniser.pieces == []


def test_a_request_whose_time_is_over_is_504_though_the_device_is_busy(
    client: TestClient, engine: Engine, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.go.clear()
    engine.request_timeout_s = 0.1
    error = refusal(client.post(URL, files={"file": ("clip.wav", clip)}), 504)  # type: ignore[arg-type]
    assert error["code"] == "deadline_exceeded"
    assert "SSVD_REQUEST_TIMEOUT_S" in error["message"]


def test_domains_are_loaded_at_the_start_before_anybody_asks(
    settings: ServerSettings, engine: Engine, recogniser: FakeRecogniser
) -> None:
    eager = settings.model_copy(update={"preload": True})
    active = {engine.domains.store.resolve(name).sha256 for name in ("child", "scottish")}
    with TestClient(create_app(eager, engine)):
        wait_until(lambda: all(engine.domains.bank.where(sha256) == "slot" for sha256 in active))
    assert {engine.domains.bank.where(sha256) for sha256 in active} == {"slot"}
    assert sorted(recogniser.loads) == ["child@2", "scottish@1"]


def test_domains_of_another_base_are_counted_and_neither_named_nor_loaded_at_the_start(
    settings: ServerSettings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeRecogniser, "digest", f"sha256:{'0' * 64}")
    loaded: list[Version] = []
    monkeypatch.setattr(engine.domains.bank, "preload", loaded.append)
    with TestClient(create_app(settings.model_copy(update={"preload": True}), engine)) as client:
        assert [each["problem"] is None for each in client.get("/v1/domains").json()["data"]] == [False] * 2
    assert loaded == []
    message = ready_message(settings, engine, ring_of(settings))
    assert "domains: none yet (2 of another base)" in message
    assert "-F domain=" not in message


def test_a_draining_server_is_503_with_retry_after(client: TestClient, engine: Engine, clip: bytes) -> None:
    engine.drain()
    response = client.post(URL, files={"file": ("clip.wav", clip)})
    assert refusal(response, 503)["code"] == "stopping"  # type: ignore[arg-type]
    assert "Retry-After" in response.headers


def test_the_event_loop_answers_while_the_device_works(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.go.clear()
    answers: list[int] = []

    def ask() -> None:
        answers.append(client.post(URL, files={"file": ("clip.wav", clip)}).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    assert recogniser.started.acquire(timeout=30)
    assert client.get("/healthz").status_code == 200  # would hang if decoding held the loop
    assert answers == []
    recogniser.go.set()
    thread.join(30)
    assert answers == [200]


def test_two_apps_in_one_process_do_not_share_their_settings(
    settings: ServerSettings, engine: Engine, clip: bytes
) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 1000})
    with TestClient(create_app(small, engine)) as first, TestClient(create_app(settings, engine)) as second:
        assert first.post(URL, files={"file": ("clip.wav", clip)}).status_code == 413
        assert second.post(URL, files={"file": ("clip.wav", clip)}).status_code == 200


def test_the_openapi_document_describes_the_form(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"][URL]["post"]["requestBody"]["content"]
    fields = content["multipart/form-data"]["schema"]["properties"]
    assert {"file", "model", "domain", "language", "response_format"} <= set(fields)


@pytest.mark.parametrize("path", [URL, "/v1/audio/translations", "/v1/domains/{name}/versions"])
def test_the_openapi_document_has_every_refusal_of_an_upload(client: TestClient, path: str) -> None:
    documented = set(client.get("/openapi.json").json()["paths"][path]["post"]["responses"])
    assert {"400", "413", "415", "422", "503", "507"} <= documented  # those of read_form among them


def test_the_openapi_document_has_no_refusal_that_a_route_does_not_make(client: TestClient) -> None:
    """A malformed parameter is 400: 422 is for forms, whose values may be beyond what the base can do."""
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            assert ("422" in operation["responses"]) == ("multipart/form-data" in content), (method, path)
            if "parameters" in operation or content:
                assert "400" in operation["responses"], (method, path)
    assert not {"HTTPValidationError", "ValidationError"} & {*document["components"]["schemas"]}


def test_a_parameter_of_the_address_that_a_route_lacks_is_refused(client: TestClient) -> None:
    routes = ["/v1/models", "/v1/domains", f"/v1/progress/{'x' * 16}"]
    answers = [client.get(route, params={"describes": "true"}) for route in routes]
    assert [(each.status_code, each.json()["error"]["param"]) for each in answers] == 3 * [(400, "describes")]
    assert "it has describe" in answers[1].json()["error"]["message"]


def test_the_docs_name_every_route(client: TestClient) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    paths = [path.partition("/{")[0] for path in client.get("/openapi.json").json()["paths"]]
    assert len(paths) > 5
    assert [path for path in paths if path not in docs] == []


def test_without_the_extra_of_the_page_the_log_says_once_how_to_add_it(
    settings: ServerSettings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(app, "missing", lambda _: ["gradio"])
    by_default = settings.model_copy(update={"ui": None})
    with caplog.at_level(logging.INFO, "server"):
        without_page = create_app(by_default, engine)
    assert app.UI_PATH not in {getattr(route, "path", "") for route in without_page.routes}
    assert caplog.text.count('pip install -e ".[ui]"') == 1
    assert not app.serves_page(by_default)
    caplog.clear()
    create_app(settings, engine)  # not asked for
    assert caplog.text == ""
