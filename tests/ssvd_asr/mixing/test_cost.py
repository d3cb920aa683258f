"""The cost model counts what is multiplied, and its choices follow from that."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ssvd_asr.layer.product_cost import Cost, DeviceSpeed, device_speed
from ssvd_asr.mixing.cost import Choice, Form, Work, choose_form, plain_cost

ONLY_OPERATIONS = DeviceSpeed(1e12, 1e30, 0.0)
ONLY_BYTES = DeviceSpeed(1e30, 1e12, 0.0)
ONLY_CALLS = DeviceSpeed(1e30, 1e30, 1e-6)
M, N, K = 1024, 1024, 409  # a linear of OWSM-1B at p = 40 %


def work(*rows: int, tokens: int = 1, plain: int = 0, builds: float = 1.0) -> Work:
    return Work(M, N, K, rows, (builds,) * len(rows), plain, tokens, itemsize=2)


def forms(of: Work, speed: DeviceSpeed) -> dict[Form, Cost]:
    return dict(choose_form(of, speed).forms)


def test_the_shared_basis_adds_its_three_products() -> None:
    batch = work(3, 2, tokens=7, plain=1)
    extra = forms(batch, ONLY_OPERATIONS)["shared"].operations - plain_cost(batch, ONLY_OPERATIONS).operations
    assert extra == 2 * 5 * 7 * (N * K + K * K + K * M)
    assert extra / plain_cost(replace(batch, plain_rows=0), ONLY_OPERATIONS).operations == pytest.approx(
        0.96, abs=0.005
    )


def test_merging_costs_its_build_whatever_the_rows() -> None:
    for rows in (1, 5):
        batch = work(rows, rows, tokens=10)
        extra = (
            forms(batch, ONLY_OPERATIONS)["merged"].operations - plain_cost(batch, ONLY_OPERATIONS).operations
        )
        assert extra == 2 * 2 * K * (M * N + K * min(M, N))
        held = forms(replace(batch, builds=(0.0, 0.0)), ONLY_OPERATIONS)["merged"]
        assert held.operations == plain_cost(batch, ONLY_OPERATIONS).operations


def test_grouping_reads_a_core_once_a_domain() -> None:
    batch = work(4, 4, 4)
    found = forms(batch, ONLY_BYTES)
    assert found["shared"].operations == found["grouped"].operations
    assert found["shared"].bytes - found["grouped"].bytes == (12 - 3) * K * K * 2


def test_few_tokens_share_the_basis_and_many_get_a_weight_of_their_own() -> None:
    break_even = M * (K + N) // (M + N + K)
    assert choose_form(work(1, tokens=break_even - 60), ONLY_OPERATIONS).merged == ()
    assert choose_form(work(1, tokens=break_even + 60), ONLY_OPERATIONS).merged == (0,)


def test_each_domain_is_decided_by_itself() -> None:
    choice = choose_form(work(1, 40, 2, 30, tokens=30), ONLY_OPERATIONS)
    assert choice.merged == (1, 3)
    assert choice.cost.operations < min(cost.operations for _, cost in choice.forms)
    held = replace(work(1, 40, 2, 30, tokens=30), builds=(0.0, 1.0, 1.0, 1.0))
    assert choose_form(held, ONLY_OPERATIONS).merged == (0, 1, 3)


def test_the_choice_is_never_dearer_than_any_form() -> None:
    for speed in (
        ONLY_OPERATIONS,
        ONLY_BYTES,
        ONLY_CALLS,
        device_speed("cpu", 4, 2),
        device_speed("cuda", 2),
    ):
        for batch in (
            work(1),
            work(8, tokens=1),
            work(1, 1, 1, 5, tokens=749, plain=2),
            work(64, tokens=187),
        ):
            choice = choose_form(batch, speed)
            assert choice.cost.seconds <= min(cost.seconds for _, cost in choice.forms) * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_the_choice_is_the_cheapest_number_of_merged_domains(seed: int) -> None:
    draw = Random(seed)
    domains = draw.randint(1, 12)
    batch = Work(
        M, N, K, tuple(draw.choice((1, 1, 2, 5, 30)) for _ in range(domains)),
        tuple(draw.choice((0.0, 0.1, 1.0, 1.0)) for _ in range(domains)), draw.choice((0, 3)),
        draw.choice((1, 8, 187)), itemsize=4, rank=draw.choice((None, 16)),
    )  # fmt: skip
    order = sorted(range(domains), key=lambda index: (batch.builds[index], -batch.rows[index]))
    for speed in (ONLY_CALLS, device_speed("cpu", 4, 2), device_speed("cuda", 2)):
        ways = [
            Choice(tuple(order[:count]), others, batch, speed).cost.seconds
            for count in range(domains + 1)
            for others in ("shared", "grouped")
        ]
        assert choose_form(batch, speed).cost.seconds == pytest.approx(min(ways), rel=1e-9)


def test_one_domain_that_decodes_long_pays_for_a_weight_and_64_do_not() -> None:
    """Bytes bound: W' of one domain is read as W is; of 64 it is read 64 times."""
    gpu = device_speed("cuda", 2)
    assert choose_form(work(64, builds=1 / 32), gpu).merged == (0,)
    assert choose_form(work(*[1] * 64, builds=1 / 32), gpu).merged == ()


def test_rows_of_one_slot_alone_are_as_the_plain_layer_once_the_weight_is_held() -> None:
    batch = work(16, tokens=100, builds=0.0)
    assert choose_form(batch, ONLY_OPERATIONS).cost == plain_cost(batch, ONLY_OPERATIONS)


def test_compressed_cores_move_fewer_bytes() -> None:
    batch = work(*[1] * 64)
    dense, compressed = (forms(each, ONLY_BYTES)["shared"] for each in (batch, replace(batch, rank=16)))
    assert dense.bytes - compressed.bytes == pytest.approx(64 * 2 * (K * K - 2 * K * 16), rel=0.01)
