"""Cost of each way to run a mixed batch; `choose_form` takes the cheapest.

For N tokens of a layer W (m, n) in domains that have a core D (k, k) there:

    shared    W x + U_k (D (V_k^T x)), one small product a row     2 N k (m + n + k) operations more than W x
    grouped   the same, one small product a domain                 as many, but D is read once per domain
    merged    W' x with W' = W + U_k D V_k^T of each domain        2 k (m n + k min(m, n)) a domain, once

ssvd_asr.layer.product_cost gives the cost of a product.
Each domain of a batch is decided separately: domains with many tokens are merged, the others share a basis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from ssvd_asr.layer.product_cost import Cost, DeviceSpeed, moved, product

Form = Literal["shared", "merged", "grouped"]
FORMS: tuple[Form, ...] = get_args(Form)


BUILD_CALLS = 3  # two products build a W', one uses it


@dataclass(frozen=True)
class Work:
    """One call of an adapted layer: a batch of rows, each of `tokens` vectors."""

    m: int  # out features
    n: int  # in features
    k: int  # the largest core among the rows
    rows: tuple[int, ...]  # of each domain that has a core here
    builds: tuple[float, ...]  # share of building W' that this call pays, by domain: 0 where W' is held
    plain_rows: int  # rows of the base, and of domains that leave this layer out
    tokens: int
    itemsize: int  # bytes a number
    rank: int | None = None  # of compressed cores (k, rank) (rank, k)


@dataclass(frozen=True)
class Choice:
    """The domains (indices in `Work.rows`) that run by their own W'; the others run over the shared basis."""

    merged: tuple[int, ...]
    others: Literal["shared", "grouped"]
    work: Work
    speed: DeviceSpeed

    @property
    def cost(self) -> Cost:
        """Cost of this choice."""
        return _cost(self.work, self.speed, self.merged, self.others)

    @property
    def forms(self) -> tuple[tuple[Form, Cost], ...]:
        """Cost of each form alone, to compare."""
        everyone = range(len(self.work.rows))
        return (
            ("shared", _cost(self.work, self.speed, (), "shared")),
            ("merged", _cost(self.work, self.speed, everyone, "shared")),
            ("grouped", _cost(self.work, self.speed, (), "grouped")),
        )


@lru_cache(maxsize=4096)
def choose_form(work: Work, speed: DeviceSpeed) -> Choice:
    """Return the cheapest way to do this work, decided domain by domain.

    Each domain must have at least one row. Source: counts of multiplications in the formulas above.
    """
    # Least share of building W' first, then most rows: the best way merges a prefix of this order.
    kinds = list(zip(work.builds, work.rows, strict=True))
    order = sorted(range(len(kinds)), key=lambda index: (kinds[index][0], -kinds[index][1]))
    alike = {kind: index for index, kind in enumerate(kinds)}
    own = {kind: _merged(work, speed, index).seconds for kind, index in alike.items()}
    joint_s = _core_calls(work) * speed.call_s
    core = {rows: _core_product(work, speed, rows).seconds - joint_s for rows in set(work.rows)}
    spent, cores, left = 0.0, sum(core[rows] for rows in work.rows), sum(work.rows)
    sizes, built = Counter(work.rows), set[int]()  # see _joined_cores, _joined
    best: tuple[float, int, Literal["shared", "grouped"]] = (float("inf"), 0, "shared")
    for count in range(len(order) + 1):
        seconds = spent + _basis_products(work, speed, left).seconds
        by_row = _core_product(work, speed, 1, batch=left).seconds if left else 0.0
        by_domain = cores + len(sizes) * joint_s
        best = min(best, (seconds + by_row, count, "shared"), (seconds + by_domain, count, "grouped"))
        if count < len(order):
            build, rows = kind = kinds[order[count]]
            spent += own[kind]
            if build == 1.0:
                spent -= BUILD_CALLS * speed.call_s if rows in built else 0.0
                built.add(rows)
            cores -= core[rows]
            left -= rows
            sizes -= Counter((rows,))
    _, count, others = best
    return Choice(tuple(sorted(order[:count])), others, work, speed)


def plain_cost(work: Work, speed: DeviceSpeed) -> Cost:
    """Return the cost of the same rows in the bare layer."""
    return product(work, speed, (work.plain_rows + sum(work.rows)) * work.tokens, work.n, work.m)


def _cost(work: Work, speed: DeviceSpeed, merged: Collection[int], others: str) -> Cost:
    """Return the cost of these domains by their own W', the others over the basis, the plain rows by W."""
    rows = [count for index, count in enumerate(work.rows) if index not in merged]
    cost = _basis_products(work, speed, sum(rows))
    for index in merged:
        cost = cost + _merged(work, speed, index)
    cost = cost + _joined(work, speed, merged)
    if others == "shared":
        return cost + _core_product(work, speed, 1, batch=sum(rows)) if rows else cost
    for count in rows:
        cost = cost + _core_product(work, speed, count)
    return cost + _joined_cores(work, speed, rows)


def _joined(work: Work, speed: DeviceSpeed, merged: Collection[int]) -> Cost:
    """Return a negative cost: domains with equally many rows build and use their W' in the same calls.

    Domains whose W' is held, or will be, run separately (ssvd_asr.mixing.plan).
    """
    rows = [work.rows[index] for index in merged if work.builds[index] == 1.0]
    return _saved(BUILD_CALLS * (len(rows) - len(set(rows))), speed)


def _joined_cores(work: Work, speed: DeviceSpeed, rows: Sequence[int]) -> Cost:
    """Return a negative cost: domains with equally many rows share one core product."""
    return _saved(_core_calls(work) * (len(rows) - len(set(rows))), speed)


def _core_calls(work: Work) -> int:
    return 1 if work.rank is None else 2


def _saved(calls: int, speed: DeviceSpeed) -> Cost:
    return Cost(0.0, 0.0, -calls, -calls * speed.call_s)


def _basis_products(work: Work, speed: DeviceSpeed, adapted: int) -> Cost:
    """Return the cost of W x for plain and `adapted` rows, and of V_k^T x and U_k for the latter."""
    cost = Cost()
    if adapted + work.plain_rows:
        cost = product(work, speed, (adapted + work.plain_rows) * work.tokens, work.n, work.m)
    if adapted:
        tokens = adapted * work.tokens
        cost = cost + product(work, speed, tokens, work.n, work.k)
        cost = cost + product(work, speed, tokens, work.k, work.m)
    return cost


def _core_product(work: Work, speed: DeviceSpeed, rows: int, *, batch: int = 1) -> Cost:
    """Return the cost of one domain's D for `rows` rows, `batch` times."""
    tokens = rows * work.tokens
    if work.rank is None:
        return product(work, speed, tokens, work.k, work.k, batch=batch)
    down = product(work, speed, tokens, work.k, work.rank, batch=batch)
    return down + product(work, speed, tokens, work.rank, work.k, batch=batch)


def _merged(work: Work, speed: DeviceSpeed, domain: int) -> Cost:
    """Return the cost of one domain by its own weight, and of its share of building it."""
    cost = product(work, speed, work.rows[domain] * work.tokens, work.n, work.m)
    share = work.builds[domain]
    if share:
        shorter = min(work.m, work.n)
        build = product(work, speed, work.k, work.rank or work.k, shorter)
        build = build + product(work, speed, work.m, work.k, work.n)
        build = build + moved(speed, 2 * work.m * work.n * work.itemsize)  # W is read, W' read again
        cost = cost + build * share
    return cost
