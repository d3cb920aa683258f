"""Weights factorised together give the factors that each has alone; what is inexact is never taken."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ssvd_asr.basis import factors_batched
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors, canonical_svd
from ssvd_asr.basis.factors_batched import BATCH_BYTES, batch_size, canonical_svd_batch
from ssvd_asr.errors import BaseModelError

CPU = torch.device("cpu")


def weights(count: int, shape: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def assert_same(found: LayerFactors, expected: LayerFactors) -> None:
    assert found.cut == expected.cut
    for name in ("u", "s", "vh"):
        assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-9), name


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (16, 16)])
def test_a_batch_gives_what_each_weight_gives_alone(shape: tuple[int, int]) -> None:
    given = weights(4, shape)
    for found, weight in zip(canonical_svd_batch(given, CPU), given, strict=True):
        assert_same(found, canonical_svd(weight, "svd"))


def test_one_weight_of_bad_condition_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = weights(3, (30, 10))
    given[1] = given[1] * torch.logspace(0, -6, 10)
    solved: list[int] = []
    solve = torch.linalg.svd

    def counting(matrices: Tensor, **options: bool) -> tuple[Tensor, Tensor, Tensor]:
        solved.append(len(matrices))
        return solve(matrices, **options)

    expected = [canonical_svd(weight, "svd") for weight in given]
    monkeypatch.setattr(torch.linalg, "svd", counting)
    found = list(canonical_svd_batch(given, CPU))
    assert solved == [1]
    for each, right in zip(found, expected, strict=True):
        assert_same(each, right)


def test_an_inexact_result_is_noticed_and_computed_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exact = factors_batched._factor

    def rounded(stacked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = exact(stacked)
        vh = torch.cat([vh[:1], vh[1:].float().double()])  # one weight of the two in single precision
        return u, s, vh

    monkeypatch.setattr(factors_batched, "_factor", rounded)
    given = weights(2, (30, 10))
    with caplog.at_level(logging.WARNING):
        found = list(canonical_svd_batch(given, CPU))
    assert caplog.text.count("inexact") == 1
    for each, weight in zip(found, given, strict=True):
        assert_same(each, canonical_svd(weight, "svd"))


@pytest.mark.parametrize(
    "error",
    [
        torch.linalg.LinAlgError("did not converge"),
        torch.OutOfMemoryError("full"),
        RuntimeError("CUSOLVER_STATUS_ALLOC_FAILED"),
    ],  # type: ignore[attr-defined]
)
def test_a_solver_that_gives_up_is_replaced(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    given = weights(2, (30, 10))
    expected = [canonical_svd(weight, "svd") for weight in given]

    def diverge(_: Tensor) -> None:
        raise error

    monkeypatch.setattr(factors_batched, "_factor", diverge)
    for found, right in zip(canonical_svd_batch(given, CPU), expected, strict=True):
        assert_same(found, right)


def test_a_weight_that_is_not_finite_is_refused() -> None:
    with pytest.raises(BaseModelError, match="NaN"):
        list(canonical_svd_batch([torch.ones(3, 2), torch.full((3, 2), torch.nan)], CPU))


def test_a_batch_fits_the_memory_it_may_have() -> None:
    assert batch_size((1024, 1024)) * 1024 * 1024 * 8 == BATCH_BYTES
    assert batch_size((10**6, 10**6)) == 1


def test_on_another_device_the_cache_takes_layers_of_one_shape_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is a name here; its arithmetic is the CPU's."""
    together: list[list[tuple[int, ...]]] = []

    def batch(given: Sequence[Tensor], device: torch.device) -> Iterator[LayerFactors]:
        assert device.type == "cuda"
        together.append([tuple(weight.shape) for weight in given])
        return canonical_svd_batch(given, CPU)

    linears: dict[str, nn.Linear] = {}
    for name, shape in zip("abcd", [(24, 8), (9, 9), (24, 8), (24, 8)], strict=True):
        linears[name] = nn.Linear(shape[1], shape[0])
    monkeypatch.setattr(factors_batched, "canonical_svd_batch", batch)
    monkeypatch.setattr(factors_batched, "batch_size", lambda _: 2)
    found = factorize((linears, "sha256:batched"), tmp_path, progress=False, device="cuda")
    assert together == [[(24, 8)] * 2, [(24, 8)], [(9, 9)]]
    for name, linear in linears.items():
        assert_same(found[name], canonical_svd(linear.weight, "svd"))
    again = factorize((linears, "sha256:batched"), tmp_path, progress=False, device="cuda")
    assert len(together) == 3
    assert again.keys() == found.keys()


def test_layers_are_factorised_where_their_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[torch.device] = []

    def compute(*given: object) -> dict[str, LayerFactors]:
        there.append(next(each for each in given if isinstance(each, torch.device)))
        return {}

    monkeypatch.setattr("ssvd_asr.basis.cache._compute", compute)
    linears = {"a": nn.Linear(4, 4, device="meta")}
    factorize((linears, "sha256:there"), tmp_path, progress=False)
    factorize((linears, "sha256:there"), tmp_path, progress=False, device="cpu")
    assert [device.type for device in there] == ["meta", "cpu"]
