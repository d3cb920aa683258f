"""Configs of the embedded benchmark: every method on owsm-nano, most of them at two sizes or more.

Sizes are about 117,000 and 250,000 trained numbers where a method has such sizes, as SSVD has at p = 40 and
60 %. The most important rows come first and run first. Every method chooses its learning rate at each size,
as SSVD does along its p sweep. Only some variants of SSVD take the rate chosen at their size (`rate_of`):
Cayley's map, the encoder alone, and budgets. VeRA's vectors learn at other rates than the LoRA on the
embedding, so VeRA tries all rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from training.bench.study import Config

P_SWEEP = (0.1, 0.2, 0.4, 0.6, 0.8)  # the share of min(m, n) that turns
P_RATE = 0.4  # the size of SSVD_RATE
SSVD_RATE = "ssvd-first-order-p40"  # its rate is used by variants of SSVD
SSVD_RATE_60 = "ssvd-first-order-p60"  # its rate is used by larger variants
SHORT = {"p": "p", "rank": "r", "off_diagonals": "d"}


def _sized(
    group: str,
    options: dict[str, Any],
    size: str,
    values: Sequence[float],
    seeds: Sequence[int] = (),
    rate_of: str | None = None,
) -> list[Config]:
    """Return a config for each size, with the number of seeds given for it (default one)."""
    name = f"{group.replace(' ', '-')}-{SHORT[size]}"
    return [
        Config(f"{name}{_number(value)}", group, {**options, size: value}, rate_of, several)
        for value, several in zip_longest(values, seeds, fillvalue=1)
    ]


def _number(value: float) -> int:
    """Return a whole number unchanged, and a share in percent."""
    return value if isinstance(value, int) else round(100 * value)


def _ssvd(
    rotation_map: str, *values: float, seeds: Sequence[int] = (), rate_of: str | None = None
) -> list[Config]:
    options = {"method": "ssvd", "rotation_map": rotation_map}
    return _sized(f"ssvd {rotation_map}", options, "p", values, seeds, rate_of)


def _p_sweep() -> list[Config]:
    """Return the configs of the sweep over p, that of P_RATE first."""
    sizes = (P_RATE, *(p for p in P_SWEEP if p != P_RATE))
    return [config for p in sizes for config in _ssvd("first-order", p, seeds=[3 if p >= P_RATE else 1])]


def _ranked(method: str, *values: int, seeds: Sequence[int] = ()) -> list[Config]:
    return _sized(method, {"method": method}, "rank", values, seeds)


def _budget(rule: str, size: int, rate_of: str) -> Config:
    options = {"method": "ssvd", "budget": size, "budget_rule": rule}
    return Config(f"ssvd-budget-{rule}-{size // 1000}k", f"ssvd budget {rule}", options, rate_of)


# What docs/methods.md recommends: scored by the server's default search too.
CHECKED = (
    "ssvd-first-order-p40", "full", "lora-r3", "ssvd-encoder-p46", "vera-linears-r64", "ssvd-first-order-p10",
    "svft-plain", "ssvd-free-p14",
)  # fmt: skip
_ALL: tuple[Config, ...] = (
    *_p_sweep(),
    Config("full", "full fine-tuning", {"method": "full"}, seeds=3),
    *_ranked("lora", 3, 6, seeds=[3]),
    *_ranked("pissa", 3, 6, seeds=[3]),
    *_ssvd("free", 0.28, 0.42, seeds=[3, 3]),
    *_ssvd("free", 0.14, 0.57),  # as many numbers as a rotation at 20 and 80 %
    *_ssvd("cayley", P_RATE, seeds=[3], rate_of=SSVD_RATE),  # the same map to first order
    *_ssvd("cayley", 0.6, rate_of=SSVD_RATE_60),
    *_sized("svft-banded", {"method": "svft-banded"}, "off_diagonals", (5, 11)),
    *_sized("lora-xs", {"method": "lora-xs"}, "p", (0.28, 0.42)),
    *_ranked("dora", 3, 6, seeds=[3]),
    *(replace(each, whole_grid=True) for each in _ranked("vera", 64, 128)),
    *_sized("vera linears", {"method": "vera", "embedding": False}, "rank", (64, 256), [3]),
    Config("svft-plain", "svft plain", {"method": "svft-plain"}),
    *_sized("svft top-k", {"method": "svft-top-k"}, "off_diagonals", (5, 11)),
    *_sized("svft random", {"method": "svft-random"}, "off_diagonals", (5, 11)),
    *_sized("ssvd tail", {"method": "ssvd", "directions": "tail", "delta_sigma": False}, "p", (0.4, 0.6)),
    *_sized("ssvd two-sided", {"method": "ssvd", "sides": "both"}, "p", (0.28, 0.42)),
    *_sized("ssvd encoder", {"method": "ssvd", "scope": "encoder"}, "p", (0.46,), [3], SSVD_RATE),
    *_sized("ssvd encoder", {"method": "ssvd", "scope": "encoder"}, "p", (0.67,), rate_of=SSVD_RATE_60),
    *_sized("ssvd decoder", {"method": "ssvd", "scope": "decoder"}, "p", (0.8, 0.55)),
    *(
        _budget(rule, size, rate_of)
        for size, rate_of in ((117_000, SSVD_RATE), (250_000, SSVD_RATE_60))
        for rule in ("energy", "shape")
    ),
)
CONFIGS: tuple[Config, ...] = tuple(replace(each, checked=each.name in CHECKED) for each in _ALL)
