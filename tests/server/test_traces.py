"""A request is a span with the stages of its work, in the trace of its client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from server.traces import Traces, traces_from
from ssvd_asr.errors import SsvdError
from tests.server.api.test_transcriptions import post

ROUTE = "/v1/audio/transcriptions"
TRACE, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(settings: ServerSettings, engine: Engine, exporter: InMemorySpanExporter) -> Iterator[TestClient]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with TestClient(create_app(settings, engine, Traces(provider))) as client:
        yield client


def parts(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The span of the one request, and those within it."""
    spans = exporter.get_finished_spans()
    (whole,) = [span for span in spans if span.kind == SpanKind.SERVER]
    return whole, [span for span in spans if span is not whole]


@pytest.mark.parametrize("stream", ["false", "true"])
def test_the_stages_of_a_request_follow_each_other_within_it(
    traced: TestClient, exporter: InMemorySpanExporter, clip: bytes, stream: str
) -> None:
    post(traced, clip, domain="child", stream=stream)
    whole, stages = parts(exporter)
    assert whole.name == f"POST {ROUTE}"
    assert [each.name for each in stages] == ["receive", "decode audio", "queue", "device", "reply"]
    assert all(each.parent == whole.context for each in stages)
    times = [time for each in stages for time in (each.start_time or 0, each.end_time or 0)]
    assert times == sorted(times)
    assert (whole.start_time or 0) <= times[0]
    assert abs((whole.end_time or 0) - times[-1]) <= 1000  # ns, of rounding
    assert whole.attributes is not None
    assert whole.attributes["http.response.status_code"] == 200
    assert whole.attributes["ssvd.domain"] == "child"


def test_the_trace_of_the_client_is_continued(traced: TestClient, exporter: InMemorySpanExporter) -> None:
    traced.get("/v1/models", headers={"traceparent": f"00-{TRACE:032x}-{PARENT:016x}-01"})
    whole, stages = parts(exporter)
    assert whole.parent is not None
    assert (whole.parent.trace_id, whole.parent.span_id) == (TRACE, PARENT)
    assert stages == []


def test_a_refusal_by_the_server_is_an_error_and_nothing_of_the_request_is_told(
    traced: TestClient, exporter: InMemorySpanExporter, engine: Engine, clip: bytes
) -> None:
    engine.drain()
    post(traced, clip, prompt="secret")
    whole, _ = parts(exporter)
    assert (whole.status.status_code, whole.status.description) == (StatusCode.ERROR, "stopping")
    assert "secret" not in whole.to_json()


def test_the_variables_of_opentelemetry_say_whether_there_are_traces() -> None:
    place = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert traces_from({}) is None
    assert traces_from({**place, "OTEL_SDK_DISABLED": "true"}) is None
    with pytest.raises(SsvdError, match="OTEL_EXPORTER_OTLP_PROTOCOL=grpc"):
        traces_from({**place, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    made = traces_from(place)
    assert made is not None
    made.close()
