"""The rows of the embedded benchmark: each method at two sizes or more, on owsm-nano.

The first rows decide the most and are run first. A method's learning rate is chosen at one of its sizes and
taken for the others (`rate_of`).
"""

from __future__ import annotations

from training.bench.study import Config

P_SWEEP = (0.1, 0.2, 0.4, 0.6, 0.8)  # the share of min(m, n) that turns
P_RATE = 0.4  # the size at which SSVD's learning rates are chosen


def _ssvd(rotation_map: str, p: float, seeds: int = 1) -> Config:
    """Strict, first order or unconstrained, at one p."""
    name = f"ssvd-{rotation_map}-p{round(100 * p)}"
    rate_of = f"ssvd-{rotation_map}-p{round(100 * P_RATE)}"
    return Config(
        name, f"ssvd {rotation_map}", {"method": "ssvd", "rotation_map": rotation_map, "p": p},
        None if name == rate_of else rate_of, seeds,
    )  # fmt: skip


CONFIGS: tuple[Config, ...] = (
    _ssvd("first-order", P_RATE, seeds=3),
    Config("full", "full fine-tuning", {"method": "full"}, seeds=3),
    *(_ssvd("first-order", p) for p in P_SWEEP if p != P_RATE),
    *(_ssvd(map_, p) for map_ in ("cayley", "free") for p in (P_RATE, 0.2, 0.6)),
)
