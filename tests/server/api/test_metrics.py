"""/metrics counts what happened, and nothing that a stranger sends makes it grow without end."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from adapters_store.names import OTHER
from server.settings import ServerSettings
from server.tally import MAX_NAMES, MEASURES, Tally, table
from tests.server.api.test_transcriptions import post
from tests.server.fakes import FakeRecogniser

ROOT = Path(__file__).parents[3]
ROUTE = "/v1/audio/transcriptions"


def numbers(client: TestClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def of(found: Any, name: str, **labels: str) -> float:
    return float(found.get((name, frozenset(labels.items())), 0.0))


def test_requests_are_counted_by_route_status_domain_and_code(client: TestClient, clip: bytes) -> None:
    for domain in ("child", "child", "scottish"):
        assert post(client, clip, domain=domain).status_code == 200
    assert post(client, clip).status_code == 200
    assert post(client, clip, domain="klingon").status_code == 404
    found = numbers(client)

    def requests(status: str, domain: str, code: str = "") -> float:
        return of(found, "ssvd_requests_total", route=ROUTE, status=status, domain=domain, code=code)

    assert requests("200", "child") == 2
    assert requests("200", "scottish") == requests("200", "base") == 1
    assert requests("404", "", "domain_not_found") == 1
    assert of(found, "ssvd_request_audio_seconds_total", status="200", domain="child") == pytest.approx(4.0)
    assert of(found, "ssvd_request_seconds_count", route=ROUTE, status="200", domain="child") == 2


def test_streams_are_counted_too(client: TestClient, clip: bytes) -> None:
    post(client, clip, domain="child", stream="true")
    found = numbers(client)
    assert of(found, "ssvd_requests_total", route=ROUTE, status="200", domain="child", code="") == 1


def test_batches_queue_and_bank_are_counted(
    client: TestClient, clip: bytes, recogniser: FakeRecogniser
) -> None:
    for _ in range(3):
        post(client, clip, domain="child")
    found = numbers(client)
    assert of(found, "ssvd_batch_rows_sum") == len(recogniser.pieces) == 3
    assert of(found, "ssvd_batch_domains_sum") == 3
    assert of(found, "ssvd_queue_seconds_count") == 3
    assert of(found, "ssvd_pieces_total", search="greedy") == 3
    assert of(found, "ssvd_decoded_audio_seconds_total") == pytest.approx(6.0)
    assert of(found, "ssvd_padded_audio_seconds_total") >= 6.0
    assert of(found, "ssvd_bank_load_seconds_count") == 1
    assert of(found, "ssvd_bank_host_hits_total") >= 2
    assert of(found, "ssvd_bank_swap_seconds_count") == of(found, "ssvd_bank_slots_used") == 1
    assert of(found, "ssvd_store_domains") == 2
    assert of(found, "ssvd_bank_leased_domains") == 0
    assert of(found, "ssvd_unfinished_requests") == of(found, "ssvd_queue_audio_seconds") == 0
    assert of(found, "ssvd_ready") == 1


def test_every_refusal_is_counted_with_its_code(client: TestClient, settings: ServerSettings) -> None:
    assert client.get("/nowhere").status_code == 404
    assert client.get(ROUTE).status_code == 405
    assert post(client, bytes(settings.max_upload_bytes + 1)).status_code == 413
    found = numbers(client)
    for route, status, code in (
        (OTHER, "404", "not_found"),
        (ROUTE, "405", "method_not_allowed"),
        (OTHER, "413", "upload_too_large"),
    ):
        assert of(found, "ssvd_requests_total", route=route, status=status, domain="", code=code) == 1, code


def test_head_is_counted_under_its_route(client: TestClient) -> None:
    assert client.head("/healthz").status_code == 200
    found = numbers(client)
    assert of(found, "ssvd_requests_total", route="/healthz", status="200", domain="", code="") == 1


def test_a_client_that_leaves_during_its_upload_is_no_fault_of_the_server(client: TestClient) -> None:
    async def leave() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            raise AssertionError("nobody is there")

        headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"100")]
        scope = {
            "type": "http", "method": "POST", "path": ROUTE, "raw_path": ROUTE.encode(), "root_path": "",
            "query_string": b"", "headers": headers,
        }  # fmt: skip
        await client.app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(leave())
    found = numbers(client)
    assert of(found, "ssvd_requests_total", route=ROUTE, status="499", domain="", code="") == 1


def test_routes_that_do_not_exist_are_one_series(client: TestClient) -> None:
    for number in range(5):
        client.get(f"/v1/nothing/{number}")
    found = numbers(client)
    series = [labels for name, labels in found if name == "ssvd_requests_total"]
    assert len([each for each in series if ("status", "404") in each]) == 1
    assert of(found, "ssvd_requests_total", route=OTHER, status="404", domain="", code="not_found") == 5


def test_labels_of_domains_are_bounded() -> None:
    tally = Tally()
    names = [tally.label(f"domain-{number}") for number in range(2 * MAX_NAMES)]
    assert len(set(names)) == MAX_NAMES + 1
    assert tally.label("domain-0") == "domain-0"
    assert names[-1] == OTHER


@pytest.mark.parametrize(
    ("sent", "kept"), [("req-1234.a:b", True), ("x" * 200, False), ("a b", False), ("", False)]
)
def test_an_answer_names_its_request(client: TestClient, sent: str, kept: bool) -> None:
    response: httpx.Response = client.get("/healthz", headers={"X-Request-ID": sent} if sent else {})
    assert (response.headers["X-Request-ID"] == sent) == kept
    assert response.headers["X-Request-ID"]


def test_a_refusal_names_its_request_too(client: TestClient) -> None:
    assert client.get("/nothing", headers={"X-Request-ID": "mine"}).headers["X-Request-ID"] == "mine"


def test_the_dashboard_asks_for_numbers_that_are_there(client: TestClient, clip: bytes) -> None:
    post(client, clip, domain="child")
    names = {name for name, _ in numbers(client)}
    told = {"ssvd_device_memory_bytes"}  # on a GPU only
    told |= {f"{measure.name}_bucket" if measure.bounds else f"{measure.name}_total" for measure in MEASURES}
    text = (ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8")
    board = json.loads(text)
    asked = {
        word
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for word in _names(target["expr"])
    }
    assert asked
    assert asked <= names | told, asked - names - told


def _names(expression: str) -> set[str]:

    return set(re.findall(r"\b(?:ssvd|process)_[a-z0-9_]+", expression))


def test_the_page_has_the_table_of_numbers() -> None:
    assert table() in (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
