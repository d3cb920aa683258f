"""What is served: models in OpenAI's shape, domains as they are on disk, sample clips by id."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from adapters_store.store import AdapterStore
from tests.server.api.test_transcriptions import post, refusal
from tests.server.fakes import BASE, DIGEST, write_adapter


def test_models_are_the_base_and_each_domain_of_it(client: TestClient) -> None:
    body = client.get("/v1/models").json()
    assert body["object"] == "list"
    assert [entry["id"] for entry in body["data"]] == [BASE, f"{BASE}:child", f"{BASE}:scottish"]
    assert all(entry["object"] == "model" for entry in body["data"])
    assert client.get(f"/v1/models/{BASE}:child").json() == body["data"][1]
    assert refusal(client.get("/v1/models/whisper-1"), 404)["code"] == "model_not_found"  # type: ignore[arg-type]


def test_domains_tell_version_digest_and_word_error_rates(client: TestClient, store: AdapterStore) -> None:
    body = client.get("/v1/domains").json()
    assert body["base"] == {
        "name": BASE,
        "digest": DIGEST,
        "language": "eng",
        "languages": [{"code": "eng", "name": "english"}, {"code": "nld", "name": "dutch"}],
        "identifies_language": False,
    }
    assert body["auto"] is True  # a page offers to leave the domain to the server only where it can
    child, scottish = body["data"]
    assert child == {
        "object": "domain",
        "name": "child",
        "model": f"{BASE}:child",
        "active_version": 2,
        "sha256": store.resolve("child").sha256,
        "builtin": False,
        "wer_before": 0.4,
        "wer_after": 0.05,
        "wer_data": None,  # its file does not say
        "wer_utterances": None,
        "problem": None,
    }
    assert (scottish["name"], scottish["active_version"]) == ("scottish", 1)


def test_a_publish_is_listed_at_once(client: TestClient, store: AdapterStore, tmp_path: Path) -> None:
    client.get("/v1/domains")
    store.publish("ward", write_adapter(tmp_path / "ward", 9))
    assert "ward" in [entry["name"] for entry in client.get("/v1/domains").json()["data"]]
    assert f"{BASE}:ward" in [entry["id"] for entry in client.get("/v1/models").json()["data"]]


def test_a_domain_of_another_base_is_no_model_here_and_says_why(
    client: TestClient, store: AdapterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.server.fakes.FakeBase.digest", "sha256:" + "0" * 64)
    store.publish("foreign", write_adapter(tmp_path / "foreign", 9))
    assert f"{BASE}:foreign" not in [entry["id"] for entry in client.get("/v1/models").json()["data"]]
    entry = next(each for each in client.get("/v1/domains").json()["data"] if each["name"] == "foreign")
    assert "made for base" in entry["problem"]


def test_a_damaged_file_spoils_only_its_own_entry(client: TestClient, store: AdapterStore) -> None:
    path = store.resolve("scottish").path
    path.chmod(0o644)
    path.write_bytes(b"rubbish")
    child, scottish = client.get("/v1/domains").json()["data"]
    assert child["problem"] is None
    assert "scottish@1" in scottish["problem"]


def test_a_damaged_file_of_aliases_spoils_the_aliases_alone(
    client: TestClient, store: AdapterStore, clip: bytes, tmp_path: Path
) -> None:
    """GET /v1/domains was 500 in the words of pydantic."""
    store.set_alias("kids", "child")
    assert store.root is not None
    (store.root / "aliases.json").write_text("{broken")
    body = client.get("/v1/domains", params={"describe": "true"}).json()
    assert ([each["name"] for each in body["data"]], body["aliases"]) == (["child", "scottish"], {})
    assert post(client, clip, domain="child").status_code == 200
    store.publish("child", write_adapter(tmp_path / "child3", 12))
    store.rollback("child")
    error = refusal(post(client, clip, domain="kids"), 500)
    assert error["code"] == "store_damaged"
    assert error["message"].startswith("aliases.json of the store is damaged: all of it: Invalid JSON")
    assert not re.search("pydantic|Aliases|input_value|\\n", error["message"])


@pytest.fixture
def clips(store: AdapterStore, clip: bytes) -> bytes:
    folder = store.builtin / "child" / "samples"
    folder.mkdir(parents=True)
    (folder / "a.wav").write_bytes(clip)
    (folder / "b.wav").write_bytes(clip)
    entries = [{"audio": "a.wav", "text": "see the wabbit"}, {"audio": "b.wav", "text": "a bird"}]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, entries)) + "\n")
    return clip


def test_samples_are_listed_with_their_words_and_fetched_by_id(client: TestClient, clips: bytes) -> None:
    listed = client.get("/v1/domains/child/samples").json()["data"]
    assert listed == [
        {"id": "a", "text": "see the wabbit", "url": "/v1/domains/child/samples/a"},
        {"id": "b", "text": "a bird", "url": "/v1/domains/child/samples/b"},
    ]
    audio = client.get(listed[0]["url"])
    assert audio.content == clips
    assert audio.headers["content-type"] == "audio/wav"


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize("sample", ["c", "..%2fsamples%2fa", "test", "a.wav"])
def test_a_sample_is_looked_up_and_never_a_path(client: TestClient, sample: str) -> None:
    refusal(client.get(f"/v1/domains/child/samples/{sample}"), 404)  # type: ignore[arg-type]


def test_a_domain_without_clips_has_an_empty_list(client: TestClient) -> None:
    assert client.get("/v1/domains/scottish/samples").json()["data"] == []
    assert refusal(client.get("/v1/domains/klingon/samples"), 404)["code"] == "domain_not_found"  # type: ignore[arg-type]
