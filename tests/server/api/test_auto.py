"""domain=auto over HTTP: what it answers, what it refuses, and the hint for those who name a domain."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from adapters_store.store import AdapterStore
from server.api.form import FORMATS
from server.engine.engine import Engine
from tests.server.api.test_transcriptions import post, refusal
from tests.server.engine.test_choosing import PLACES, summary
from tests.server.fakes import BASE, DIGEST, FakeRecogniser


@pytest.fixture(autouse=True)
def voices(store: AdapterStore, recogniser: FakeRecogniser) -> None:
    for name, place in PLACES.items():
        store.voices.write(DIGEST if name is None else store.resolve(name).sha256, summary(place))
    recogniser.voice = np.asarray(PLACES["child"], np.float32)


@pytest.mark.parametrize("asked", [{"domain": "auto"}, {"model": f"{BASE}:auto"}, {"domain": "auto:child"}])
def test_the_reply_names_what_was_chosen_and_what_else_there_was(
    asked: dict[str, str], client: TestClient, store: AdapterStore, clip: bytes
) -> None:
    response = post(client, clip, **asked)
    assert response.status_code == 200, response.text
    told = response.json()["ssvd"]
    assert (told["domain"], told["adapter_version"]) == ("child", 2)
    assert response.headers["X-SSVD-Adapter-SHA256"] == store.resolve("child").sha256
    (choice,) = told["auto"]
    assert choice["domain"] == "child"
    assert choice["considered"][0] == {
        "domain": "child",
        "adapter_version": 2,
        "adapter_sha256": store.resolve("child").sha256,
        "likely": pytest.approx(1.0, abs=0.01),
        "nats_a_token": None,
    }
    names = {each["domain"] for each in choice["considered"]}
    assert names == ({"child", None} if asked == {"domain": "auto:child"} else {"child", "scottish", None})


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_has_the_words_of_a_request_that_names_it(
    kind: str, client: TestClient, clip: bytes
) -> None:
    chosen, named = (post(client, clip, domain=name, response_format=kind) for name in ("auto", "child"))
    assert _without_auto(chosen) == _without_auto(named)
    assert chosen.headers["X-SSVD-Domain"] == named.headers["X-SSVD-Domain"]


def _without_auto(response: httpx.Response) -> Any:
    if "json" not in response.headers["content-type"]:
        return response.text
    body = response.json()
    body["ssvd"].pop("auto", None)
    return body


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"auto": "fast"}, 400, "auto"),
        ({"domain": "child", "auto": "full"}, 400, "auto"),
        ({"domain": "auto", "auto": "quick"}, 422, "auto"),
        ({"domain": "auto:"}, 404, None),
        ({"domain": "auto:klingon"}, 404, None),
        ({"domain": "auto*0.5"}, 404, None),
        ({"domain": "auto", "model": f"{BASE}:child"}, 400, None),
    ],
)
def test_what_is_not_understood_is_refused(
    fields: dict[str, str], status: int, param: str | None, client: TestClient, clip: bytes
) -> None:
    error = refusal(post(client, clip, **fields), status)
    assert param is None or error["param"] == param


def test_fast_compares_nothing(client: TestClient, recogniser: FakeRecogniser, clip: bytes) -> None:
    recogniser.voice = np.asarray([3.0, 3.0], np.float32)
    for mode, compared in (("fast", False), ("full", True)):
        (choice,) = post(client, clip, domain="auto", auto=mode).json()["ssvd"]["auto"]
        assert choice["compared"] is compared


@pytest.mark.parametrize(
    ("fields", "hinted"),
    [
        ({"domain": "scottish", "response_format": "verbose_json"}, True),
        ({"domain": "scottish"}, False),
        ({"response_format": "verbose_json"}, False),
    ],
)
def test_a_hint_comes_with_a_named_domain_and_verbose_json(
    fields: dict[str, str],
    hinted: bool,
    client: TestClient,
    engine: Engine,
    recogniser: FakeRecogniser,
    clip: bytes,
) -> None:
    engine.domains.fetch("child")
    recogniser.finds = {"child": -1.0}
    warnings = post(client, clip, **fields).json()["ssvd"]["warnings"]
    assert any("more like domain child" in each for each in warnings) is hinted
    assert any(piece.listens for piece in recogniser.pieces) is hinted
