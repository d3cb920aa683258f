"""Domains changed over HTTP: nothing bad becomes visible, nothing is lost, and the log says who did it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from adapters_store.audit import AUDIT_VARIABLE
from adapters_store.packaged import write_builtin
from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from tests.server.api.test_transcriptions import post, refusal
from tests.server.fakes import DIGEST, TIMEOUT_S, FakeRecogniser, wait_until, write_adapter
from tests.server.keys.making import bearer, make_key

VERSIONS = "/v1/domains/child/versions"


@pytest.fixture(autouse=True)
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """The lines of this test's audit log."""
    path = tmp_path / "audit.jsonl"
    monkeypatch.setenv(AUDIT_VARIABLE, str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def settings(settings: ServerSettings, tmp_path: Path) -> ServerSettings:
    return settings.model_copy(update={"keys": tmp_path / "keys.json"})


@pytest.fixture
def admin(tmp_path: Path) -> dict[str, str]:
    """The headers of one who may change domains."""
    return bearer(make_key(tmp_path / "keys.json", "ops", scope="admin"))


@pytest.fixture
def client(settings: ServerSettings, engine: Engine, admin: dict[str, str]) -> Iterator[TestClient]:
    with TestClient(create_app(settings, engine), raise_server_exceptions=False, headers=admin) as client:
        yield client


@pytest.fixture
def new(tmp_path: Path) -> bytes:
    """An adapter for the served base that is not in the store."""
    return write_adapter(tmp_path / "new", 7).read_bytes()


def send(client: TestClient, data: bytes, url: str = VERSIONS, **said: str) -> httpx.Response:
    return client.post(url, files={"file": ("a.safetensors", data)}, data=said)  # type: ignore[return-value]


def listed(client: TestClient) -> dict[str, int]:
    """The domains and their active versions."""
    return {each["name"]: each["active_version"] for each in client.get("/v1/domains").json()["data"]}


def test_a_published_file_answers_at_once_and_the_log_says_who_sent_it(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, new: bytes, audit: Any
) -> None:
    response = send(client, new)
    assert response.status_code == 201
    assert response.headers["Location"] == f"{VERSIONS}/3"
    body = response.json()
    digest = hashlib.sha256(new).hexdigest()
    assert (body["name"], body["version"], body["sha256"], body["active"]) == ("child", 3, digest, True)
    assert body["base_digest"] == DIGEST
    assert "version 3" in post(client, clip, domain="child").json()["text"]
    assert recogniser.threads == {"ssvd-device"}  # the canary's thread is that of the batches
    line = audit()[-1]
    assert line == line | {"who": "ops", "where": "testclient", "what": "domain.publish"}
    assert line == line | {"domain": "child", "version": 3, "sha256": digest}


def test_a_version_may_be_added_without_becoming_active(client: TestClient, clip: bytes, new: bytes) -> None:
    assert send(client, new, activate="false").json()["active"] is False
    assert listed(client)["child"] == 2
    assert "version 3" in post(client, clip, domain="child@3").json()["text"]
    error = refusal(send(client, new, "/v1/domains/ward/versions", activate="false"), 409)
    assert error["code"] == "first_version"
    assert "ward" not in listed(client)


def test_the_canary_waits_for_the_batch_that_is_being_decoded(
    client: TestClient, busy: FakeRecogniser, new: bytes
) -> None:
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(send, client, new)
        wait_until(lambda: sent.done() or busy_is_asked(client))
        assert not sent.done()
        assert busy.canaries == []
        busy.go.set()
        assert sent.result(TIMEOUT_S).status_code == 201
    assert busy.canaries == [False]


def busy_is_asked(client: TestClient) -> bool:
    """Whether an errand waits for the device."""
    engine: Engine = client.app.state.ssvd.engine  # type: ignore[attr-defined]
    return bool(engine._errands)


def test_what_is_not_sound_is_never_visible(
    client: TestClient, store: AdapterStore, recogniser: FakeRecogniser, new: bytes, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, audit: Any,
) -> None:  # fmt: skip
    monkeypatch.setattr("tests.server.fakes.FakeBase.digest", "sha256:" + "0" * 64)
    foreign = write_adapter(tmp_path / "foreign", 8).read_bytes()
    recogniser.refuse.add(hashlib.sha256(new).hexdigest())
    before, lines = store.get("child"), len(audit())
    for data, code in [
        (b"RIFF" + bytes(3000), "invalid_adapter"),
        (new[:-1], "invalid_adapter"),
        (new, "invalid_adapter"),  # its canary
        (foreign, "wrong_base"),
    ]:
        error = refusal(send(client, data), 422)
        assert (error["code"], error["param"]) == (code, "file")
    assert store.get("child") == before
    assert len(audit()) == lines
    assert store.root is not None
    named = {f"{each.sha256}.safetensors" for name in ("child", "scottish") for each in store.versions(name)}
    assert {path.name for path in (store.root / "adapters").iterdir()} == named  # no leftovers
    recogniser.fail = RuntimeError("CUDA out of memory")
    recogniser.refuse.clear()
    assert refusal(send(client, new), 503)["code"] == "out_of_memory"
    assert store.get("child") == before


def test_a_form_is_refused_by_name(client: TestClient, new: bytes) -> None:
    assert refusal(client.post(VERSIONS, content=new), 415)["code"] == "not_multipart"  # type: ignore[arg-type]
    assert refusal(client.post(VERSIONS, files={"other": ("a", new)}), 400)["param"] == "other"  # type: ignore[arg-type]
    assert refusal(client.post(VERSIONS, files={"file": (None, "text")}), 400)["param"] == "file"  # type: ignore[arg-type]
    assert refusal(send(client, new, activate="perhaps"), 400)["param"] == "activate"
    assert refusal(send(client, new, name="child"), 400)["param"] == "name"
    assert refusal(send(client, new, "/v1/domains/Child!/versions"), 400)["code"] == "invalid_name"


@pytest.mark.parametrize("word", ["auto", "base", "blend", "other"])
def test_no_new_domain_is_called_as_requests_or_numbers_call_something_else(
    client: TestClient, store: AdapterStore, new: bytes, word: str
) -> None:
    error = refusal(send(client, new, f"/v1/domains/{word}/versions"), 400)
    assert (error["code"], word in error["message"]) == ("invalid_name", True)
    response = client.put(f"/v1/domain-aliases/{word}", json={"stands_for": "child"})
    assert refusal(response, 400)["code"] == "invalid_name"  # type: ignore[arg-type]
    assert word not in listed(client)
    assert store.aliases() == {}


def test_a_domain_that_an_earlier_release_called_base_goes_on(
    client: TestClient, clip: bytes, new: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("adapters_store.store.check_name", str)
        send(client, new, "/v1/domains/base/versions")
    assert listed(client)["base"] == 1
    assert post(client, clip, domain="base").json()["text"] == "base words of version 1"
    assert client.put("/v1/domains/base/versions/1/pin").json()["pinned"] is True
    assert client.delete("/v1/domains/base/versions/1/pin").status_code == 200
    assert client.delete("/v1/domains/base/versions/1", params={"force": "true"}).status_code == 200


def test_adapters_have_a_limit_of_their_own(
    settings: ServerSettings, engine: Engine, admin: dict[str, str], new: bytes, clip: bytes
) -> None:
    tight = settings.model_copy(update={"max_upload_bytes": 500, "max_adapter_bytes": 50_000})
    with TestClient(create_app(tight, engine), headers=admin) as client:
        assert send(client, new).status_code == 201
        error = refusal(send(client, bytes(60_000)), 413)
        assert "SSVD_MAX_ADAPTER_BYTES" in error["message"]
        assert "SSVD_MAX_UPLOAD_BYTES" in refusal(post(client, clip), 413)["message"]


def test_another_domains_adapter_and_a_built_in_name_want_a_word(
    client: TestClient, store: AdapterStore, tmp_path: Path, new: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_builtin(store.builtin, "carib", write_adapter(tmp_path / "carib", 20))
    carib = "/v1/domains/carib/versions"
    error = refusal(send(client, new, carib), 409)
    assert error["code"] == "over_built_in"
    assert "over=carib" in error["message"]
    assert refusal(send(client, new, carib, over="child"), 400)["code"] == "contradiction"
    assert send(client, new, carib, activate="false").status_code == 201  # it does not answer in its place
    assert listed(client)["carib"] == 1
    assert send(client, new, carib, over="carib").json()["version"] == 2
    error = refusal(client.delete(f"{carib}/1"), 409)  # type: ignore[arg-type]
    assert error["code"] == "built_in"
    monkeypatch.setattr("server.publishing.inspect_adapter", lambda _: Trained())
    error = refusal(send(client, new), 409)
    assert error["code"] == "trained_as_another"
    assert "as=child" in error["message"]
    assert send(client, new, **{"as": "child"}).status_code == 201


class Trained:
    training = {"domain": "ward"}  # noqa: RUF012


def test_activate_rollback_and_remove(client: TestClient, new: bytes, audit: Any) -> None:
    digest = send(client, new).json()["sha256"]
    assert client.post("/v1/domains/child/activate", json={"version": 1}).json()["version"] == 1
    assert client.post("/v1/domains/child/rollback").json()["version"] == 3
    short = f"sha256:{digest[:12]}"
    assert client.post("/v1/domains/child/activate", json={"version": short}).json()["active"] is True
    error = refusal(client.delete(f"{VERSIONS}/3"), 409)  # type: ignore[arg-type]
    assert error["code"] == "version_active"
    assert "child@2 would answer" in error["message"]
    assert "force=true" in error["message"]
    assert listed(client)["child"] == 3
    removed = client.delete(f"{VERSIONS}/3", params={"force": "true"})
    assert removed.json() == {"name": "child", "removed": [3], "active": 2}
    assert client.delete(VERSIONS).json() == {"name": "child", "removed": [1], "active": 2}
    shown = client.get("/v1/domains/child").json()
    assert [each["version"] for each in shown["versions"]] == [2]
    actions = ["publish", "activate", "rollback", "remove", "remove"]
    assert [each["action"] for each in shown["events"]][-5:] == actions
    assert [each["what"] for each in audit()][-5:] == [f"domain.{action}" for action in actions]
    for response, status, code in [
        (client.post("/v1/domains/ward/rollback"), 404, "domain_not_found"),
        (client.post("/v1/domains/scottish/rollback"), 409, "nothing_before"),
        (client.post("/v1/domains/child/activate", json={"version": 9}), 404, "domain_not_found"),
        (client.post("/v1/domains/child/activate", json={"version": 1.5}), 400, "invalid_value"),
        (client.post("/v1/domains/child/activate", content=b"{"), 400, "invalid_value"),
        (client.delete(f"{VERSIONS}/first"), 404, "domain_not_found"),
        (client.delete(VERSIONS), 409, "nothing_to_remove"),
        (client.get("/v1/domains/..%2F..%2Fetc"), 404, "not_found"),
        (client.get("/v1/domains/%2e%2e/versions/1"), 404, "domain_not_found"),
    ]:
        assert refusal(response, status)["code"] == code  # type: ignore[arg-type]


def test_a_pinned_version_stays_until_it_is_unpinned(client: TestClient, new: bytes) -> None:
    send(client, new)
    assert client.put(f"{VERSIONS}/1/pin").json()["pinned"] is True
    assert refusal(client.delete(f"{VERSIONS}/1"), 409)["code"] == "version_pinned"  # type: ignore[arg-type]
    assert client.delete(VERSIONS).json()["removed"] == [2]
    assert client.get("/v1/domains/child").json()["pinned"] == [1]
    assert client.delete(f"{VERSIONS}/1/pin").json()["pinned"] is False
    assert client.delete(f"{VERSIONS}/1").json()["removed"] == [1]


def test_an_alias_stands_for_a_domain_or_a_version_and_hides_none(
    client: TestClient, clip: bytes, new: bytes
) -> None:
    def says(domain: str) -> str:
        response = post(client, clip, domain=domain)
        assert response.status_code == 200, response.text
        return str(response.json()["text"])

    assert client.put("/v1/domain-aliases/kids", json={"stands_for": "child"}).status_code == 200
    assert client.put("/v1/domain-aliases/old", json={"stands_for": "child@1"}).status_code == 200
    assert client.get("/v1/domains").json()["aliases"] == {"kids": "child", "old": "child@1"}
    send(client, new)
    assert says("kids") == "child words of version 3"
    assert says("kids@2") == "child words of version 2"
    assert says("old") == says("child@1") == "child words of version 1"
    assert says("kids*0.5+scottish*0.5")
    assert refusal(post(client, clip, domain="old@2"), 404)["code"] == "domain_not_found"
    for alias, stands_for, status, code in [
        ("scottish", "child", 409, "name_is_domain"),
        ("ward", "kids", 404, "domain_not_found"),  # of an alias there is none
        ("ward", "child@9", 404, "domain_not_found"),
        ("Ward", "child", 400, "invalid_name"),
    ]:
        response = client.put(f"/v1/domain-aliases/{alias}", json={"stands_for": stands_for})
        assert refusal(response, status)["code"] == code  # type: ignore[arg-type]
    assert refusal(send(client, new, "/v1/domains/kids/versions"), 409)["code"] == "name_is_alias"
    assert refusal(client.delete("/v1/domains/kids/versions/1"), 404)  # type: ignore[arg-type]
    gone = client.delete(f"{VERSIONS}/1")
    assert refusal(gone, 409)["code"] == "version_aliased"  # type: ignore[arg-type]
    assert says("old") == "child words of version 1"
    assert client.delete("/v1/domain-aliases/kids").json() == {"alias": "kids", "stands_for": None}
    assert refusal(post(client, clip, domain="kids"), 404)
    assert refusal(client.delete("/v1/domain-aliases/kids"), 404)  # type: ignore[arg-type]


def test_an_alias_of_a_version_is_never_another_version(
    client: TestClient, clip: bytes, recogniser: FakeRecogniser, store: AdapterStore
) -> None:
    """A name whose active version is refused is answered by an earlier one. A pinned version is not."""
    recogniser.refuse.add(store.resolve("child@2").sha256)
    store.set_alias("kids", "child")
    store.set_alias("exactly", "child@2")
    assert "version 1" in post(client, clip, domain="kids").json()["text"]
    assert refusal(post(client, clip, domain="exactly"), 500)["code"] == "adapter_refused"


def test_a_version_is_downloaded_as_it_was_published(client: TestClient, store: AdapterStore) -> None:
    version = store.resolve("child@1")
    url = f"{VERSIONS}/1/file"
    found = client.get(url)
    assert found.content == version.read_bytes()
    assert found.headers["ETag"] == f'"{version.sha256}"'
    assert client.get(url, headers={"If-None-Match": found.headers["ETag"]}).status_code == 304
    assert client.get(f"{VERSIONS}/1").json()["sha256"] == version.sha256
    version.path.chmod(0o644)
    version.path.write_bytes(b"x" * version.size_bytes)
    assert "has changed" in refusal(client.get(url), 500)["message"]  # type: ignore[arg-type]


def test_the_difference_of_two_versions_is_that_of_their_metadata(client: TestClient) -> None:
    body = client.get("/v1/domains/child/diff", params={"from": 1, "to": 2}).json()
    assert body["changed"]["training.wer_after"] == [0.1, 0.05]
    assert "base_digest" not in body["changed"]
    assert refusal(client.get("/v1/domains/child/diff", params={"from": 1}), 400)["param"] == "to"  # type: ignore[arg-type]


def test_files_sent_at_once_all_become_versions(client: TestClient, tmp_path: Path) -> None:
    files = [write_adapter(tmp_path / f"many{seed}", seed).read_bytes() for seed in range(30, 35)]
    barrier = threading.Barrier(len(files))

    def together(data: bytes) -> int:
        barrier.wait(TIMEOUT_S)
        return int(send(client, data).json()["version"])

    with ThreadPoolExecutor(len(files)) as pool:
        assert sorted(pool.map(together, files)) == [3, 4, 5, 6, 7]
    digests = {each["sha256"] for each in client.get("/v1/domains/child").json()["versions"]}
    assert {hashlib.sha256(data).hexdigest() for data in files} <= digests


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://["])
def test_a_page_of_another_site_changes_nothing(client: TestClient, origin: str) -> None:
    evil = {"Origin": origin}
    response = client.post("/v1/domains/child/rollback", headers=evil)
    assert refusal(response, 403)["code"] == "origin_not_allowed"  # type: ignore[arg-type]
    assert client.get("/v1/domains", headers=evil).status_code == 200
    own = {"Origin": str(client.base_url)}
    assert client.post("/v1/domains/child/rollback", headers=own).status_code == 200


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [(errno.ENOSPC, 507, "no_space"), (errno.EROFS, 500, "store_unwritable")],
)
def test_a_disk_that_takes_no_change_is_told_from_a_damaged_store(
    client: TestClient, new: bytes, monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("adapters_store.disk._write_all", fails)
    assert refusal(send(client, new), status)["code"] == code
    response = client.put("/v1/domain-aliases/kids", json={"stands_for": "child"})
    assert refusal(response, status)["code"] == code  # type: ignore[arg-type]


def test_a_change_that_a_full_disk_refuses_is_not_in_the_log(
    client: TestClient, store: AdapterStore, new: bytes, monkeypatch: pytest.MonkeyPatch, audit: Any
) -> None:
    """The line was written first, so the log told of changes that nobody made."""
    send(client, new)
    store.set_alias("kids", "child")
    store.pin("child", 1)
    before, lines = store.get("child"), audit()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("adapters_store.disk._write_all", full)
        for response in [
            client.post("/v1/domains/child/rollback"),
            client.post("/v1/domains/child/activate", json={"version": 1}),
            client.put(f"{VERSIONS}/2/pin"),
            client.delete(f"{VERSIONS}/1/pin"),
            client.delete(f"{VERSIONS}/2"),
            client.delete(VERSIONS),
            client.put("/v1/domain-aliases/old", json={"stands_for": "child@1"}),
            client.delete("/v1/domain-aliases/kids"),
        ]:
            assert refusal(response, 507)["code"] == "no_space"  # type: ignore[arg-type]
    assert audit() == lines
    assert (store.get("child"), store.aliases()) == (before, {"kids": "child"})
    assert client.post("/v1/domains/child/rollback").status_code == 200
    assert audit()[-1]["what"] == "domain.rollback"


def test_an_empty_file_is_no_adapter(client: TestClient) -> None:
    assert refusal(send(client, b""), 422)["code"] == "invalid_adapter"


def test_a_body_that_is_no_object_is_refused_in_words(client: TestClient) -> None:
    response = client.post("/v1/domains/child/activate", json=[1])
    assert refusal(response, 400)["message"].startswith("body: ")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "options", "param"),
    [
        ("GET", "/v1/domains", {"params": {"describe": "maybe"}}, "describe"),
        ("GET", "/v1/domains/child/diff", {"params": {"from": "1"}}, "to"),
        ("DELETE", f"{VERSIONS}/2", {"params": {"force": "banana"}}, "force"),
        ("PUT", "/v1/domain-aliases/kids", {"json": {"stands_for": "child", "x": 1}}, "x"),
        ("PUT", "/v1/domain-aliases/kids", {"json": {"stands_for": 1}}, "stands_for"),
        ("PUT", "/v1/domain-aliases/kids", {}, None),
        ("POST", "/v1/domains/child/activate", {"json": {"version": True}}, "version"),
        ("POST", "/v1/domains/child/activate", {"json": {}}, "version"),
        ("POST", "/v1/domains/child/activate", {"json": [1]}, None),
        ("POST", "/v1/domains/child/activate", {"content": b'{"version": }'}, None),
        ("POST", "/v1/domains/child/activate", {"content": b'{"version": "\xff"}'}, None),
        ("POST", "/v1/domains/child/activate", {"content": b"[" * 100_000}, None),
        ("POST", "/v1/domains/child/activate", {"content": b'{"version":1,"version":2}'}, "version"),
        ("POST", "/v1/domains/child/activate", {"content": b'{"version":1,"\\u0076ersion":1}'}, "version"),
        ("PUT", "/v1/domain-aliases/kids", {"content": b'{"x":1,"stands_for":"child","x":2}'}, "x"),
    ],
)  # fmt: skip
def test_a_malformed_value_is_400_by_the_name_of_its_field(
    client: TestClient,
    store: AdapterStore,
    method: str,
    path: str,
    options: dict[str, Any],
    param: str | None,
) -> None:
    headers = {"Content-Type": "application/json"} if "content" in options else {}
    response = client.request(method, path, headers=headers, **options)
    error = refusal(response, 400)  # type: ignore[arg-type]
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert listed(client) == {"child": 2, "scottish": 1}
    assert store.aliases() == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/domains/child/rollback"),
        ("DELETE", VERSIONS),
        ("DELETE", f"{VERSIONS}/1"),
        ("PUT", f"{VERSIONS}/1/pin"),
        ("DELETE", f"{VERSIONS}/1/pin"),
        ("DELETE", "/v1/domain-aliases/kids"),
        ("GET", "/v1/domains"),
        ("GET", VERSIONS + "/1"),
        ("GET", "/v1/models"),
        ("GET", f"/v1/progress/{'x' * 16}"),
    ],
)
def test_a_body_that_nobody_reads_is_refused(
    client: TestClient, store: AdapterStore, method: str, path: str
) -> None:
    before = store.get("child")
    for body in (b'{"junk":1}', b"x" * 1_000_000):
        error = refusal(client.request(method, path, content=body), 400)  # type: ignore[arg-type]
        assert (error["code"], error["param"]) == ("invalid_value", "body")
        assert f"{len(body)} bytes" in error["message"]
    assert store.get("child") == before


def test_a_change_that_cannot_be_logged_is_not_made(
    client: TestClient, store: AdapterStore, new: bytes
) -> None:
    log = store.audit.path
    log.unlink()
    log.mkdir()
    error = refusal(send(client, new), 500)
    assert AUDIT_VARIABLE in error["message"]
    assert refusal(client.post("/v1/domains/child/rollback"), 500)  # type: ignore[arg-type]
    assert refusal(client.put("/v1/domain-aliases/kids", json={"stands_for": "child"}), 500)  # type: ignore[arg-type]
    assert listed(client)["child"] == 2
    assert store.aliases() == {}


def test_a_stopping_server_publishes_nothing(client: TestClient, engine: Engine, new: bytes) -> None:
    engine.drain()
    assert refusal(send(client, new), 503)["code"] == "stopping"
    assert listed(client)["child"] == 2
