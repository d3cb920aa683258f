"""Fingerprints: one basis is recognised from every LAPACK path, another is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssvd_asr.basis.factors import LayerFactors, canonical_svd
from ssvd_asr.basis.fingerprint import check_fingerprint, fingerprint, probe
from ssvd_asr.errors import AdapterError, WrongBasisError

# Of the generator that docs/adapter-format.md states; written files depend on them.
PROBE_0 = [-0.02372303267025222, -0.9860852490349854, -0.20585039887700596]
PROBE_1 = [-0.15074648589530937, 0.0637101218904943, -0.3277097756685279]
SHAPES = [(96, 40), (64, 64), (40, 96)]


def weight(shape: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_probes_are_fixed_numbers() -> None:
    assert probe(0, 3).tolist() == PROBE_0
    assert probe(1, 3).tolist() == PROBE_1
    assert torch.equal(probe(0, 100)[:3], probe(0, 3))
    assert bool((probe(1, 10_000).abs() <= 1).all())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("driver", ["svd", "gesvd"])
def test_one_basis_is_recognised_from_every_path(shape: tuple[int, int], driver: str) -> None:
    matrix = weight(shape)
    stored = fingerprint(canonical_svd(matrix), min(shape))
    other = canonical_svd(matrix.mT.contiguous().mT + 0.0, driver)  # type: ignore[arg-type]
    check_fingerprint("layer", stored, other)
    assert float((fingerprint(other, min(shape)) - stored).abs().max()) < 1e-9  # far inside the tolerance


def test_nearly_equal_values_are_given_the_room_that_rounding_needs() -> None:
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(40, 40, generator=generator).double())[0] for _ in range(2))
    sigma = torch.linspace(3, 1, 40, dtype=torch.float64)
    sigma[21] = sigma[20] - 2e-7
    matrix = left * sigma @ right
    factors = canonical_svd(matrix)
    assert factors.cut == 40
    check_fingerprint("layer", fingerprint(canonical_svd(matrix, "gesvd"), 40), factors)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("column", [0, 7, 39])
def test_one_flipped_sign_is_another_basis(shape: tuple[int, int], column: int) -> None:
    factors = canonical_svd(weight(shape))
    vh = factors.vh.clone()
    vh[column] *= -1
    stored = fingerprint(LayerFactors(factors.u, factors.s, vh, factors.cut), 40)
    with pytest.raises(
        WrongBasisError, match=rf"'encoder\.x'.*direction {column} deviates by .*, tolerance "
    ):
        check_fingerprint("encoder.x", stored, factors)


def test_two_turned_columns_are_another_basis() -> None:
    factors = canonical_svd(weight((64, 64)))
    vh = factors.vh.clone()
    vh[[50, 51]] = vh[[51, 50]]
    with pytest.raises(WrongBasisError):
        check_fingerprint("layer", fingerprint(LayerFactors(factors.u, factors.s, vh, 64), 64), factors)


def test_a_weight_changed_by_a_millionth_is_another_basis() -> None:
    matrix = weight((64, 64))
    stored = fingerprint(canonical_svd(matrix), 30)
    matrix[3, 5] += 1e-5
    with pytest.raises(WrongBasisError):
        check_fingerprint("layer", stored, canonical_svd(matrix))


def test_a_base_whose_spectrum_is_degenerate_is_refused_before_comparing() -> None:
    with pytest.raises(WrongBasisError, match=r"k=5.*determines 0"):
        check_fingerprint("layer", torch.zeros(3, 5, dtype=torch.float64), canonical_svd(torch.eye(8)))


@pytest.mark.parametrize("k", [0, 41])
def test_a_fingerprint_needs_directions_that_the_spectrum_determines(k: int) -> None:
    with pytest.raises(AdapterError, match=rf"k={k}"):
        fingerprint(canonical_svd(weight((96, 40))), k)
