"""Traces of requests by OpenTelemetry: a span a request, and within it one for each stage of its work.

The spans are made when a request has ended, of the times that were noted. Needs the extra `otel`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ssvd_asr.errors import SsvdError
from ssvd_asr.extras import require
from ssvd_asr.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SERVICE = "ssvd-asr"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# Members of the log's line that OpenTelemetry has names for.
_STANDARD = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
}


class Stage(NamedTuple):
    """A part of a request's work. Times of time.monotonic()."""

    name: str
    began_s: float
    ended_s: float


def traces_from(environment: Mapping[str, str]) -> Traces | None:
    """Return traces that go where OpenTelemetry's variables say; None where they name no place.

    Raises SsvdError for a protocol other than OTLP over HTTP, ModuleNotFoundError without the extra.
    """
    if not any(environment.get(name) for name in ENDPOINTS):
        return None
    if environment.get("OTEL_SDK_DISABLED", "").strip().casefold() == "true":
        return None
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(PROTOCOL)
    if protocol not in (None, "", "http/protobuf"):
        raise SsvdError(f"{PROTOCOL}={protocol}: traces are sent by http/protobuf only")
    require("otel")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
    resource = Resource.create({**named, "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


class Traces:
    """Where spans go."""

    def __init__(self, provider: TracerProvider) -> None:
        """`provider` has the exporters."""
        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE, __version__)

    def add(
        self, headers: Mapping[str, str], line: Mapping[str, Any], whole: Stage, stages: Sequence[Stage]
    ) -> None:
        """Add the spans of a request that has ended.

        Args:
            headers: of the request; a `traceparent` is continued.
            line: the members of the log's line.
        """
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        began_ns = time.time_ns() - time.monotonic_ns()  # of the clock of time.monotonic()

        def at(seconds: float) -> int:
            return began_ns + round(seconds * 1e9)

        attributes = {
            _STANDARD.get(name, f"ssvd.{name}"): value for name, value in line.items() if value is not None
        }
        span = self._tracer.start_span(
            f"{line['method']} {line['route']}",
            TraceContextTextMapPropagator().extract(dict(headers)),
            trace.SpanKind.SERVER,
            attributes,
            start_time=at(whole.began_s),
        )
        within = trace.set_span_in_context(span)
        for stage in stages:
            part = self._tracer.start_span(stage.name, within, start_time=at(stage.began_s))
            part.end(at(stage.ended_s))
        if line["status"] >= 500:
            span.set_status(trace.StatusCode.ERROR, line["code"])
        span.end(at(whole.ended_s))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
