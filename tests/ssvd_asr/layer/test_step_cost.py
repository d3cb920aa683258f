"""The step's form follows from counted operations: few tokens share the basis, many pay for W'."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssvd_asr.layer.product_cost import Cost, DeviceSpeed, device_speed
from ssvd_asr.layer.step_cost import StepForm, StepWork, choose_step, plain_step_cost

ONLY_OPERATIONS = DeviceSpeed(1e12, 1e30, 0.0)
M, N, K = 1024, 1024, 409  # a linear of OWSM-1B at p = 40 %
BUILD = 2 * K * (M * N + K * min(M, N))


def work(tokens: int, k: int = K, *, m: int = M, n: int = N) -> StepWork:
    return StepWork(m, n, k, tokens, input_gradient=True, itemsize=4)


def forms(of: StepWork) -> dict[StepForm, Cost]:
    return dict(choose_step(of, ONLY_OPERATIONS).forms)


def test_the_shared_basis_costs_about_twice_a_plain_linear_whatever_the_tokens() -> None:
    for tokens in (1, 100, 10_000):
        shared, plain = forms(work(tokens))["shared"], plain_step_cost(work(tokens), ONLY_OPERATIONS)
        assert shared.operations - plain.operations == 4 * tokens * K * (M + N) + 6 * tokens * K * K
        assert shared.operations / plain.operations == pytest.approx(2.04, abs=0.01)


def test_a_weight_of_its_own_costs_two_builds_and_the_gradient() -> None:
    tokens = 8 * 750  # eight windows of 30 s
    plain = plain_step_cost(work(tokens), ONLY_OPERATIONS)
    extra = forms(work(tokens))["merged"].operations - plain.operations
    assert extra == 2 * BUILD + 2 * tokens * K * (M + N) + 2 * tokens * K * K
    k = 819  # so many directions are dearer to project on than dW' is
    extra = forms(work(tokens, k))["merged"].operations - plain.operations
    assert extra == 3 * 2 * k * (M * N + k * min(M, N)) + 2 * tokens * M * N
    assert choose_step(work(tokens, k), ONLY_OPERATIONS).gradient == "whole"


def test_few_tokens_share_the_basis_and_many_get_a_weight() -> None:
    saved_a_token = 2 * K * (M + N) + 4 * K * K
    break_even = 2 * BUILD // saved_a_token
    assert choose_step(work(break_even - 5), ONLY_OPERATIONS).form == "shared"
    assert choose_step(work(break_even + 5), ONLY_OPERATIONS).form == "merged"


def test_the_first_layer_that_trains_builds_once_and_sends_nothing_further() -> None:
    last = replace(work(10_000), input_gradient=False)
    plain = plain_step_cost(last, ONLY_OPERATIONS)
    assert plain.operations == 2 * 10_000 * M * N
    extra = forms(last)["merged"].operations - plain.operations
    assert extra == BUILD + 2 * 10_000 * K * (M + N) + 2 * 10_000 * K * K


def test_the_choice_is_never_dearer_than_a_form_and_a_form_asked_for_is_taken() -> None:
    for speed in (ONLY_OPERATIONS, device_speed("cpu", 4, 2), device_speed("cuda", 2)):
        for each in (work(1), work(300), work(6000), work(40, m=50_002, n=384, k=153)):
            choice = choose_step(each, speed)
            assert choice.cost.seconds == min(cost.seconds for _, cost in choice.forms)
            for form, cost in choice.forms:
                assert (choose_step(each, speed, form).form, choose_step(each, speed, form).cost) == (
                    form,
                    cost,
                )


def test_shared_knows_the_projected_gradient_only() -> None:
    assert choose_step(work(6000, 819), ONLY_OPERATIONS, "shared").gradient == "projected"
