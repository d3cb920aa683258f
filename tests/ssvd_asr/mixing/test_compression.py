"""What truncating a core costs is what is stated, in D and in W' alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssvd_asr.basis.factors import canonical_svd
from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.compression import Compression, core_numbers, from_halves, halves, needed_rank

K = 12


@pytest.fixture
def core() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    falling = 0.5 ** torch.arange(K, dtype=torch.float64)
    left, right = (
        torch.linalg.qr(torch.randn(K, K, generator=generator, dtype=torch.float64))[0] for _ in "ab"
    )
    return left * falling @ right


def lost_at(core: Tensor, rank: int) -> float:
    """|D - D_r| / |D|, by Eckart and Young."""
    s = torch.linalg.svdvals(core)
    return float(s[rank:].norm() / s.norm())


@pytest.mark.parametrize("error", [0.5, 0.1, 1e-2, 1e-3])
def test_the_rank_is_the_smallest_that_keeps_the_stated_error(core: Tensor, error: float) -> None:
    rank = needed_rank(core, error)
    assert lost_at(core, rank) <= error < lost_at(core, rank - 1)
    left, right = Compression(rank, error).split("any", core)
    assert (left.shape, right.shape) == ((K, rank), (rank, K))
    assert float((left.double() @ right.double() - core).norm() / core.norm()) <= error * (1 + 1e-6)


def test_the_error_of_the_weight_is_the_error_of_the_core(core: Tensor) -> None:
    weight = torch.randn(30, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    factors = canonical_svd(weight)
    left, right = (part.double() for part in Compression(4, 1.0).split("any", core))
    whole = factors.u[:, :K] @ core @ factors.vh[:K]
    cut = factors.u[:, :K] @ left @ right @ factors.vh[:K]
    assert float((whole - cut).norm() / whole.norm()) == pytest.approx(lost_at(core, 4), rel=1e-5)


def test_no_compression_goes_beyond_its_stated_error(core: Tensor) -> None:
    with pytest.raises(AdapterError, match=r"layer: rank 2 loses 2\.50e-01 of its core of 12.*1\.00e-02"):
        Compression(2, 1e-2).split("layer", core)


def test_a_zero_core_needs_no_rank_and_loses_nothing() -> None:
    zero = torch.zeros(3, 3)
    assert needed_rank(zero, 0.0) == 0
    left, right = Compression(1, 0.0).split("any", zero)
    assert not (left @ right).any()


def test_a_full_rank_is_exact(core: Tensor) -> None:
    assert needed_rank(core, 0.0) == K


def test_a_core_whose_parts_are_no_smaller_is_held_whole() -> None:
    assert [core_numbers(K, Compression(rank, 1.0)) for rank in (1, 5, 6, 11, 12, 99)] == [
        2 * K, 10 * K, K * K, K * K, K * K, K * K,
    ]  # fmt: skip
    assert core_numbers(K, None) == K * K


@pytest.mark.parametrize("rank", [6, 8, 12, 20])
def test_halves_are_the_core_itself(core: Tensor, rank: int) -> None:
    left, right = halves(core, rank)
    assert max(left.shape[1], right.shape[0]) <= rank
    assert torch.equal(from_halves(left, right), core)


def test_a_core_that_is_held_exactly_is_not_refused_for_a_loss_that_it_has_not(core: Tensor) -> None:
    Compression(K // 2, 0.0).check("layer", core)
    with pytest.raises(AdapterError, match="loses"):
        Compression(K // 2 - 1, 0.0).check("layer", core)
