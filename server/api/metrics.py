"""GET /metrics: what the server does, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from server.state import ServerState, state_of
from server.tally import MEASURES, Measure, Tally
from ssvd_asr.version import __version__

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """Return all numbers now. docs/serving.md lists them."""
    registry = CollectorRegistry()
    registry.register(_Numbers(state_of(request)))
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers(Collector):
    """The tally and the state of one server."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Yield every number."""
        tally = self._state.engine.tally
        for measure in MEASURES:
            yield _spread(tally, measure) if measure.bounds else _count(tally, measure)
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        state = self._state
        engine, bank = state.engine, state.engine.domains.bank
        base = engine.recogniser
        info = {"version": __version__, "base": base.name, "base_digest": base.digest}
        yield InfoMetricFamily("ssvd", "The server and its base.", value=info)
        numbers = {
            "ssvd_ready": ("Whether requests are taken.", engine.ready),
            "ssvd_queue_audio_seconds": (
                "Audio that waits for the device, also of uploads that are being decoded.",
                state.waiting_s,
            ),
            "ssvd_uploads_waiting": ("Uploads that wait to be decoded to samples.", state.intake.waiting),
            "ssvd_uploads_decoding": ("Uploads that are being decoded to samples.", state.intake.running),
            "ssvd_unfinished_requests": ("Accepted requests that are not answered yet.", engine.unfinished),
            "ssvd_device_speed": ("Padded seconds of audio decoded a second, lately.", engine.speed),
            "ssvd_live_sessions": ("Live sessions that are open.", state.live.open),
            "ssvd_bank_slots": ("Domains that fit into slots of the device.", bank.slots.capacity()),
            "ssvd_bank_slots_used": ("Domains in slots of the device.", bank.slots.resident),
            "ssvd_bank_device_bytes": ("Memory of the slots.", bank.slots.nbytes),
            "ssvd_bank_host_domains": ("Domains in host memory.", len(bank.host)),
            "ssvd_bank_host_bytes": ("Host memory of domains.", bank.host.nbytes),
            "ssvd_bank_leased_domains": (
                "Domains that unfinished requests hold in host memory.",
                bank.host.held,
            ),
            "ssvd_store_domains": ("Domains on disk.", len(state.store.list())),
            **_device_memory(),
        }
        for name, (text, value) in numbers.items():
            yield GaugeMetricFamily(name, text, value=float(value))


def _count(tally: Tally, measure: Measure) -> Metric:
    family = CounterMetricFamily(measure.name, measure.help, labels=measure.labels)
    for labels, value in tally.counts(measure).items():
        family.add_metric(labels, value)
    return family


def _spread(tally: Tally, measure: Measure) -> Metric:
    family = HistogramMetricFamily(measure.name, measure.help, labels=measure.labels)
    for labels, found in tally.spread(measure).items():
        below = 0
        buckets = []
        for bound, count in zip((*map(str, measure.bounds), "+Inf"), found.counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets, found.total)
    return family


def _device_memory() -> dict[str, tuple[str, int]]:
    """Return the memory that torch holds on a GPU; nothing on a CPU, where the process has it."""
    import torch

    if not torch.cuda.is_available():
        return {}
    return {
        "ssvd_device_memory_bytes": ("Memory of the GPU in use by tensors.", torch.cuda.memory_allocated()),
        "ssvd_device_memory_reserved_bytes": ("Memory of the GPU held.", torch.cuda.memory_reserved()),
    }
