"""Every route is in the table of who may call it, keys open them, private domains do not exist for others."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import httpx
import openai
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from server.api.access import NEEDS, PAGE, TABLE, WEBSOCKET, Access, Need
from server.app import create_app
from server.auto.candidates import Candidate, Candidates
from server.auto.wish import AutoWish
from server.engine.engine import Engine
from server.settings import ServerSettings
from tests.server.api.routes import routes_of
from tests.server.api.test_transcriptions import URL, refusal
from tests.server.fakes import BASE, TIMEOUT_S, FakeRecogniser, wait_until
from tests.server.keys.making import bearer, make_key, make_private, revoke
from tests.server.live import listening
from tests.speechlike import babble, wav_bytes

ROOT = Path(__file__).parents[3]
SECRET = "annex"  # the private domain, the first in every list


class Keyed:
    """A server that asks for keys, whose domain SECRET is private."""

    def __init__(self, path: Path) -> None:
        make_private(path, SECRET)
        self.path = path
        self.plain = make_key(path, "plain")
        self.ward = make_key(path, "of-the-ward", domains=(SECRET,))
        self.admin = make_key(path, "root", scope="admin")


@pytest.fixture
def keyed(tmp_path: Path, store: Any) -> Keyed:
    store.publish(SECRET, store.resolve("scottish").path)
    return Keyed(tmp_path / "keys.json")


@pytest.fixture
def guarded(settings: ServerSettings, keyed: Keyed) -> ServerSettings:
    aliases = f"whisper-1={BASE}, of-annex={BASE}:{SECRET}, mixed={BASE}:child*0.5+{SECRET}*0.5"
    return settings.model_copy(update={"keys": keyed.path, "model_aliases": aliases})


@pytest.fixture
def app(guarded: ServerSettings, engine: Engine) -> FastAPI:
    return create_app(guarded, engine)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, key: str | None, clip: bytes, url: str = URL, **fields: Any) -> httpx.Response:
    headers = {} if key is None else bearer(key)
    return client.post(url, files={"file": ("clip.wav", clip)}, data=fields, headers=headers)  # type: ignore[return-value]


def get(client: TestClient, key: str | None, path: str) -> httpx.Response:
    return client.get(path, headers={} if key is None else bearer(key))  # type: ignore[return-value]


def test_every_route_is_in_the_table_and_the_table_has_no_other(app: FastAPI) -> None:
    found = set(routes_of(app))
    assert (WEBSOCKET, "/v1/realtime") in found
    assert found - set(TABLE) == set(), "who may call these? say so in server/api/access.py"
    assert {key for key in TABLE if not key[1].startswith(PAGE) and key[1] != "/"} == found


def test_every_route_of_the_page_is_in_the_table() -> None:
    probe = [sys.executable, "-m", "tests.server.api.routes"]
    printed = subprocess.run(probe, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    found = {(method, path) for method, path in map(str.split, printed.splitlines())}
    assert ("POST", f"{PAGE}/gradio_api/queue/join") in found
    assert found - set(TABLE) == set(), "gradio has new routes: does the page use them?"
    assert set(TABLE) == found


def test_needs_are_all_used_and_the_strictest_of_several_counts() -> None:
    assert set(TABLE.values()) | {"admin"} == set(get_args(Need))
    access = Access({("GET", "/a/{b:path}"): "public", ("GET", "/a/secret"): "admin"})
    assert access.need("GET", "/a/secret") == "admin"
    assert access.need("HEAD", "/a/secret/") == "admin"
    assert access.need("GET", "/a/other") == "public"
    assert access.need("POST", "/a/secret") is None
    assert NEEDS[-1] == "nobody"


@pytest.mark.parametrize(("method", "path"), [key for key in TABLE if not key[1].startswith(PAGE)])
def test_without_a_key_only_what_is_public_answers(client: TestClient, method: str, path: str) -> None:
    path = path.replace("{model:path}", BASE).replace("{name}", "child")
    if method == WEBSOCKET:
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(path):
            raise AssertionError("it was let in")
        response: Any = denied.value
    else:
        response = client.request(method, path, headers=bearer("ssvd-wrong"))
    if TABLE.get((method, path)) == "public":
        assert response.status_code in (200, 404)  # no page here
        return
    assert refusal(response, 401)["code"] == "invalid_api_key"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_a_route_that_is_not_in_the_table_answers_nobody(app: FastAPI, keyed: Keyed, method: str) -> None:
    app.add_api_route("/v1/new", lambda: "secret", methods=[method])
    with TestClient(app) as client:
        response = client.request(method, "/v1/new", headers=bearer(keyed.admin))
    assert response.status_code == 404
    assert "secret" not in response.text


def test_a_websocket_that_is_not_in_the_table_answers_nobody(app: FastAPI, keyed: Keyed) -> None:
    async def new(socket: WebSocket) -> None:
        await socket.accept()

    app.add_api_websocket_route("/v1/new", new)
    with (
        TestClient(app) as client,
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("/v1/new", headers=bearer(keyed.admin)),
    ):
        raise AssertionError("it was let in")
    assert denied.value.status_code == 404  # type: ignore[attr-defined]


def test_a_key_opens_what_its_scope_allows(client: TestClient, keyed: Keyed, clip: bytes) -> None:
    for key in (keyed.plain, keyed.ward, keyed.admin):
        assert post(client, key, clip, domain="child").json()["text"] == "child words of version 2"
        assert get(client, key, "/v1/models").status_code == 200
    assert refusal(get(client, keyed.plain, "/metrics"), 403)["code"] == "insufficient_scope"
    assert get(client, keyed.admin, "/metrics").status_code == 200
    assert client.head("/v1/models").status_code == 401


def test_numbers_are_public_where_the_operator_says_so(guarded: ServerSettings, engine: Engine) -> None:
    with TestClient(create_app(guarded.model_copy(update={"metrics_public": True}), engine)) as client:
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic eDp5", "bearer\tx", "Bearer \xff"])
def test_a_header_that_holds_no_key_is_no_key(client: TestClient, header: str) -> None:
    response = client.get("/v1/models", headers={"Authorization": header.encode("latin-1")})  # type: ignore[dict-item]
    assert refusal(response, 401)["code"] == "invalid_api_key"  # type: ignore[arg-type]


def test_two_keys_in_one_request_are_none(client: TestClient, keyed: Keyed) -> None:
    both = [("Authorization", f"Bearer {key}") for key in (keyed.plain, keyed.admin)]
    assert client.get("/v1/models", headers=both).status_code == 401  # type: ignore[arg-type]


def references(name: str) -> list[dict[str, str]]:
    """Every way to ask for a domain of this name."""
    pinned = f"{name}@sha256:{'ab' * 16}"
    domains = [name, f"{name}@1", f"{name}@7", pinned, f"{name}*0.5", f"child*0.5+{name}*0.5"]
    domains += [
        f"nowhere+{name}",
        f"{name}+nowhere",
        f"{name}+{name}",
        f"auto:{name}",
        f"auto:child,{name}@1",
    ]
    return [*({"domain": each} for each in domains), {"model": f"{BASE}:{name}"}]


def test_a_private_domain_is_refused_exactly_as_one_that_does_not_exist(
    client: TestClient, keyed: Keyed, clip: bytes
) -> None:
    assert post(client, keyed.ward, clip, domain=SECRET).status_code == 200  # and so it is in memory
    absent = "annix"
    for private, unknown in zip(references(SECRET), references(absent), strict=True):
        for more in ({}, {"language": "klingon"}, {"keywords[]": "#"}):
            told = post(client, keyed.plain, clip, **private, **more)
            as_of = post(client, keyed.plain, clip, **unknown, **more)
            assert told.status_code == as_of.status_code
            assert told.status_code >= 400
            assert told.text.replace(SECRET, absent) == as_of.text
    for path in (
        "/v1/models/{}",
        f"/v1/models/{BASE}:{{}}",
        "/v1/domains/{}/samples",
        "/v1/domains/{}/samples/x",
    ):
        private_reply = get(client, keyed.plain, path.format(SECRET))
        assert private_reply.status_code == 404
        assert (
            private_reply.text.replace(SECRET, absent) == get(client, keyed.plain, path.format(absent)).text
        )
    for alias in ("of-annex", "mixed"):
        told, as_of = (post(client, keyed.plain, clip, model=each) for each in (alias, "no-alias"))
        assert told.text.replace(alias, "no-alias") == as_of.text


@pytest.mark.parametrize("path", ["/v1/models", "/v1/domains"])
def test_lists_show_a_private_domain_to_those_who_may_use_it(
    client: TestClient, keyed: Keyed, path: str
) -> None:
    for key, sees in ((keyed.plain, False), (keyed.ward, True), (keyed.admin, True)):
        assert (SECRET in get(client, key, path).text) == sees


def test_what_may_be_used_can_be_used_in_every_way(client: TestClient, keyed: Keyed, clip: bytes) -> None:
    for key in (keyed.ward, keyed.admin):
        for fields in ({"domain": SECRET}, {"domain": f"child*0.5+{SECRET}@1*0.5"}, {"model": "of-annex"}):
            reply = post(client, key, clip, **fields)
            assert SECRET in reply.json()["ssvd"]["domain"]
        assert get(client, key, f"/v1/domains/{SECRET}/samples").status_code == 200


@pytest.mark.parametrize(
    "fields", [{"domain": "auto"}, {"domain": "child", "response_format": "verbose_json"}]
)
def test_neither_a_choice_nor_a_hint_considers_a_private_domain(
    client: TestClient,
    keyed: Keyed,
    recogniser: FakeRecogniser,
    clip: bytes,
    fields: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recogniser.finds = {SECRET: -0.1}  # by far the surest
    considered: list[str] = []
    honest = Candidates.of

    def watched(candidates: Candidates, wish: AutoWish) -> tuple[Candidate, ...]:
        found = honest(candidates, wish)
        considered.extend(each.name for each in found)
        return found

    monkeypatch.setattr(Candidates, "of", watched)
    told = post(client, keyed.plain, clip, **fields)
    assert told.status_code == 200
    assert SECRET not in told.text + str(told.headers)
    assert "child" in considered
    assert SECRET not in considered
    post(client, keyed.ward, clip, **fields)
    assert SECRET in considered
    if fields["domain"] == "auto":
        assert post(client, keyed.ward, clip, **fields).json()["ssvd"]["domain"] == SECRET


def test_a_domain_that_becomes_private_is_gone_with_the_next_request(
    client: TestClient, keyed: Keyed, clip: bytes
) -> None:
    assert post(client, keyed.plain, clip, domain="child").status_code == 200
    make_private(keyed.path, SECRET, "child")
    assert post(client, keyed.plain, clip, domain="child").status_code == 404
    revoke(keyed.path, "plain")
    assert post(client, keyed.plain, clip).status_code == 401


def test_a_large_upload_without_a_key_is_told_so(app: FastAPI) -> None:
    with listening(app) as url:
        response = httpx.post(f"{url}{URL}", files={"file": ("a.wav", bytes(1_900_000))}, timeout=TIMEOUT_S)
    assert refusal(response, 401)["code"] == "invalid_api_key"


def test_a_preflight_needs_no_key_and_a_refusal_can_be_read_by_a_page(
    guarded: ServerSettings, engine: Engine
) -> None:
    origin = "https://app.example.org"
    with TestClient(create_app(guarded.model_copy(update={"cors_origins": origin}), engine)) as client:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "authorization"
        assert client.options(URL, headers=asked).status_code == 200
        refused = client.get("/v1/models", headers={"Origin": origin})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == origin


def test_a_key_is_nowhere_but_with_its_holder(
    client: TestClient, keyed: Keyed, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "ssvd-" + "w" * 43
    told = []
    with caplog.at_level(logging.DEBUG):
        for key in (keyed.plain, keyed.admin, wrong):
            told += [post(client, key, clip, domain=domain) for domain in ("child", "no", SECRET)]
            told += [get(client, key, "/v1/nothing"), get(client, key, "/metrics")]
    found = "".join(f"{each.text}{each.headers}" for each in told) + caplog.text
    assert not any(key in found for key in (keyed.plain, keyed.admin, wrong))


# Limits of a key


def test_audio_is_charged_when_it_is_accepted_and_the_reply_says_what_is_left(
    client: TestClient, keyed: Keyed, clip: bytes
) -> None:
    key = make_key(keyed.path, "small", audio_s_per_hour=5)
    first = post(client, key, clip)
    assert first.headers["x-ratelimit-limit-audio-seconds"] == "5"
    assert first.headers["x-ratelimit-remaining-audio-seconds"] == "3"
    for refused in (
        post(client, key, b"none"),
        post(client, key, clip, domain="no"),
        get(client, key, "/v1/models"),
    ):
        assert refused.headers.get("x-ratelimit-remaining-audio-seconds", "3") == "3"
    assert post(client, key, clip).headers["x-ratelimit-remaining-audio-seconds"] == "1"
    over = post(client, key, clip)
    assert refusal(over, 429)["code"] == "quota_exceeded"
    assert 1 <= int(over.headers["Retry-After"]) <= 3600
    assert over.headers["x-ratelimit-remaining-audio-seconds"] == "1"
    assert post(client, key, wav_bytes(babble(0.9))).status_code == 200
    assert "x-ratelimit-limit-audio-seconds" not in post(client, keyed.plain, clip).headers


def test_a_request_that_the_queue_refuses_is_not_charged(
    client: TestClient, keyed: Keyed, engine: Engine, busy: FakeRecogniser, settings: ServerSettings
) -> None:
    key = make_key(keyed.path, "small", audio_s_per_hour=100)
    long = wav_bytes(babble(settings.max_duration_s - 1))
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(post, client, keyed.plain, long)
        wait_until(lambda: engine.waiting_s > 0)  # an upload that is being decoded waits in no queue
        refused = post(client, key, long)
        assert refusal(refused, 429)["code"] == "queue_full"
        assert refused.headers["x-ratelimit-remaining-audio-seconds"] == "100"
        busy.go.set()
        assert waiting.result(TIMEOUT_S).status_code == 200


def test_as_many_requests_run_at_once_as_the_key_may_have_streams_too(
    client: TestClient, keyed: Keyed, engine: Engine, busy: FakeRecogniser, clip: bytes
) -> None:
    key = make_key(keyed.path, "narrow", concurrent=1)
    with ThreadPoolExecutor() as threads:
        running = threads.submit(post, client, key, clip, stream="true")
        wait_until(lambda: running.done() or engine.unfinished >= 2)  # that of `busy`, and this one
        assert not running.done(), running.result().text
        refused = post(client, key, clip, domain="no")
        assert refusal(refused, 429)["code"] == "too_many_requests"
        assert refused.headers["Retry-After"] == "1"
        assert get(client, key, "/v1/models").status_code == 200  # lists take no place
        busy.go.set()
        assert "base words" in running.result(TIMEOUT_S).text
    assert post(client, key, clip).status_code == 200


def test_the_openai_client_sends_the_key_and_raises_its_own_errors(
    app: FastAPI, keyed: Keyed, clip: bytes
) -> None:
    small = make_key(keyed.path, "small", audio_s_per_hour=3)
    file = ("clip.wav", clip)
    with listening(app) as url:

        def transcribe(key: str) -> str:
            with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as api:
                return api.audio.transcriptions.create(file=file, model=f"{BASE}:child").text

        assert transcribe(small) == "child words of version 2"
        with pytest.raises(openai.AuthenticationError, match="not known here") as wrong:
            transcribe("ssvd-wrong")
        assert wrong.value.code == "invalid_api_key"
        with pytest.raises(openai.RateLimitError, match="has 1 s left") as over:
            transcribe(small)
        assert over.value.code == "quota_exceeded"
        with openai.OpenAI(base_url=f"{url}/v1", api_key=keyed.plain) as api:
            assert SECRET not in str(list(api.models.list()))
