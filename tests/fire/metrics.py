"""Numbers of /metrics, and those of them that tell what a server holds for its clients."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

HELD = (  # 0 once no request and no session is left
    "ssvd_unfinished_requests",
    "ssvd_queue_audio_seconds",
    "ssvd_live_sessions",
    "ssvd_bank_leased_domains",
)


def numbers_of(text: str) -> dict[str, float]:
    """Return the numbers of a text of /metrics that have no labels."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }
