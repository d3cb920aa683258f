"""Canonical factors: the same basis from every LAPACK path, and no basis claimed where there is none."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

import ssvd_asr
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.rotation import core, rotation_delta, skew_size
from ssvd_asr.basis.factors import DRIVERS, LayerFactors, canonical_svd, column_signs, spectrum_cut
from ssvd_asr.basis.layers import DEFAULT_PATTERNS
from ssvd_asr.errors import BaseModelError

SHAPES = [(48, 20), (32, 32), (20, 48)]


def orthonormal(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    q: Tensor = torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))[0]
    return q


def with_spectrum(shape: tuple[int, int], sigma: Tensor, seed: int = 0) -> Tensor:
    r = min(shape)
    return orthonormal(shape[0], r, seed) * sigma @ orthonormal(shape[1], r, seed + 1).mT


def update(factors: LayerFactors, k: int, seed: int = 5) -> Tensor:
    """U_k D V_k^T for one fixed K and dS."""
    generator = torch.Generator().manual_seed(seed)
    skew = 0.1 * torch.randn(skew_size(k), generator=generator, dtype=torch.float64)
    delta_sigma = 0.1 * torch.randn(k, generator=generator, dtype=torch.float64)
    made = core(factors.s[:k], rotation_delta("cayley", skew), delta_sigma)
    return factors.u[:, :k] @ made @ factors.vh[:k]


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 10_000))
def test_factors_rebuild_the_weight_with_orthonormal_sides(m: int, n: int, seed: int) -> None:
    weight = torch.randn(m, n, generator=torch.Generator().manual_seed(seed))
    factors = canonical_svd(weight)
    identity = torch.eye(min(m, n), dtype=torch.float64)
    assert factors.shape == (m, n)
    assert factors.rank == min(m, n)
    assert torch.allclose(factors.u * factors.s @ factors.vh, weight.double(), atol=1e-12)
    assert torch.allclose(factors.u.mT @ factors.u, identity, atol=1e-12)
    assert torch.allclose(factors.vh @ factors.vh.mT, identity, atol=1e-12)
    assert bool((factors.s[:-1] >= factors.s[1:]).all())


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10_000))
def test_the_largest_component_of_every_input_direction_is_positive(m: int, n: int, seed: int) -> None:
    vh = canonical_svd(torch.randn(m, n, generator=torch.Generator().manual_seed(seed))).vh
    assert bool((vh.gather(1, vh.abs().argmax(dim=1, keepdim=True)) > 0).all())


def test_ties_are_decided_by_the_lowest_index_though_rounding_breaks_them() -> None:
    half = 0.5
    vh = torch.tensor([[-half, half * (1 + 1e-12), half, -half], [0.1, -0.6, 0.6, 0.5]], dtype=torch.float64)
    assert column_signs(vh).tolist() == [-1.0, -1.0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spectrum", ["logarithmic", "gaussian"])
def test_every_driver_gives_the_same_update_on_separated_spectra(
    shape: tuple[int, int], spectrum: str
) -> None:
    r = min(shape)
    if spectrum == "logarithmic":
        weight = with_spectrum(shape, torch.logspace(0.5, -1.5, r, dtype=torch.float64))
    else:
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for k in (r // 4, r // 2, r - 1 if spectrum == "gaussian" else r):
        reference = update(canonical_svd(weight, "svd"), k)
        for driver in DRIVERS:
            if driver == "eigh" and spectrum == "gaussian":
                continue  # a square Gaussian matrix may be too ill-conditioned; refused, see below
            assert apart(update(canonical_svd(weight, driver), k), reference) < 1e-6, (driver, k)


@pytest.fixture(scope="module")
def nano_weights() -> dict[str, Tensor]:
    """The adaptable weights of the embedded model."""
    state = load_file(Path(ssvd_asr.__file__).parent / "base/nano/model.safetensors")
    ends = tuple(f"{pattern}.weight" for pattern in DEFAULT_PATTERNS)
    return {name: tensor for name, tensor in state.items() if name.endswith(ends) and tensor.ndim == 2}


def test_every_driver_gives_the_same_update_on_every_layer_of_nano(nano_weights: dict[str, Tensor]) -> None:
    by_eigh = 0
    for name, weight in nano_weights.items():
        factors = canonical_svd(weight)
        others = [canonical_svd(weight, "gesvd")]
        if float(factors.s[0] / factors.s[-1]) < 900:  # eigh's limit is 1000
            others.append(canonical_svd(weight, "eigh"))
            by_eigh += 1
        for k in {min(int(p * factors.rank), factors.cut) for p in (0.4, 1.0)}:
            for other in others:
                assert apart(update(other, k), update(factors, k)) < 1e-6, (name, k)
    assert len(nano_weights) > 50
    assert by_eigh > len(nano_weights) // 2


def test_no_layer_of_nano_is_degenerate(nano_weights: dict[str, Tensor]) -> None:
    assert all(canonical_svd(weight).cut == min(weight.shape) for weight in nano_weights.values())


def test_transposed_storage_and_dtype_do_not_move_the_basis() -> None:
    weight = torch.randn(30, 24, generator=torch.Generator().manual_seed(3)).half()
    reference = canonical_svd(weight.double())
    for same in (weight, weight.float(), weight.double().mT.contiguous().mT):
        assert torch.allclose(canonical_svd(same).vh, reference.vh, atol=1e-11)


def test_coinciding_values_end_the_basis_before_the_first_pair() -> None:
    sigma = torch.linspace(3.0, 0.5, 20, dtype=torch.float64)
    sigma[8] = sigma[7]
    factors = canonical_svd(with_spectrum((48, 20), sigma), "svd")
    assert factors.cut == 7
    other = canonical_svd(with_spectrum((48, 20), sigma), "eigh")
    assert apart(update(other, 7), update(factors, 7)) < 1e-6
    assert apart(update(other, 20), update(factors, 20)) > 1e-3  # what the cut is for: without it, noise


def test_a_rank_deficient_tail_is_cut() -> None:
    sigma = torch.linspace(3.0, 0.5, 20, dtype=torch.float64)
    sigma[13:] = 0.0
    assert canonical_svd(with_spectrum((48, 20), sigma)).cut == 13


@pytest.mark.parametrize("weight", [torch.eye(8), torch.zeros(8, 5), orthonormal(9, 6, 0)])
def test_orthogonal_and_zero_weights_have_no_basis_at_all(weight: Tensor) -> None:
    assert canonical_svd(weight).cut == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1e-3, 10.0), min_size=1, max_size=12))
def test_the_cut_directions_are_separated_and_the_next_is_not(values: list[float]) -> None:
    s = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    cut = spectrum_cut(s)
    gaps = (s[:-1] - s[1:]) / s[0]
    assert bool((gaps[:cut] > 1e-8).all())
    assert cut == len(s) or float(gaps[cut]) <= 1e-8


def test_degenerate_layers_get_fewer_directions_and_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    sigma = torch.linspace(3.0, 0.5, 20, dtype=torch.float64)
    sigma[5] = sigma[4]
    factors = {
        "good": canonical_svd(with_spectrum((48, 20), torch.linspace(3, 1, 20, dtype=torch.float64))),
        "twin": canonical_svd(with_spectrum((48, 20), sigma)),
        "flat": canonical_svd(torch.eye(20)),
    }
    with caplog.at_level(logging.WARNING):
        adapter = Adapter.new(factors, k=10)
    assert adapter.ks == {"good": 10, "twin": 4}
    assert adapter.limited == {"twin": (10, 4), "flat": (10, 0)}
    assert "twin: k=10 lowered to 4" in caplog.text
    assert "flat" in caplog.text


def test_eigh_refuses_a_condition_number_it_cannot_take() -> None:
    weight = with_spectrum((48, 20), torch.logspace(0, -6, 20, dtype=torch.float64))
    assert canonical_svd(weight, "svd").cut > 15
    with pytest.raises(BaseModelError, match=r"1\.0e\+06.*svd"):
        canonical_svd(weight, "eigh")


@pytest.mark.parametrize(
    "weight", [torch.zeros(3), torch.zeros(2, 2, 2), torch.zeros(0, 3), torch.full((2, 2), torch.nan)]
)
def test_what_is_not_a_finite_matrix_is_refused(weight: Tensor) -> None:
    with pytest.raises(BaseModelError):
        canonical_svd(weight)


def test_an_unknown_driver_is_refused_by_name() -> None:
    with pytest.raises(BaseModelError, match=r"'qr'.*auto, svd, gesvd, eigh"):
        canonical_svd(torch.eye(2), "qr")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "condition", "by_gram"),
    [((48, 20), 50.0, True), ((20, 48), 50.0, True), ((30, 20), 50.0, False), ((48, 20), 500.0, False)],
)
def test_the_faster_way_is_taken_where_it_is_as_exact(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], condition: float, by_gram: bool
) -> None:
    sigma = torch.logspace(0, -math.log10(condition), 20, dtype=torch.float64)
    weight = with_spectrum(shape, sigma)
    expected = canonical_svd(weight, "svd")
    svds: list[Tensor] = []
    svd = torch.linalg.svd
    monkeypatch.setattr(torch.linalg, "svd", lambda *a, **k: svds.append(a[0]) or svd(*a, **k))
    found = canonical_svd(weight)
    assert bool(svds) == (not by_gram)
    assert apart(update(found, 20), update(expected, 20)) < 1e-10


def test_gesvd_steps_in_where_gesdd_does_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(9, 7, generator=torch.Generator().manual_seed(2))
    expected = canonical_svd(weight)

    def diverge(*_: object, **__: object) -> None:
        raise torch.linalg.LinAlgError("did not converge")  # type: ignore[attr-defined]

    monkeypatch.setattr(torch.linalg, "svd", diverge)
    assert torch.allclose(canonical_svd(weight).vh, expected.vh, atol=1e-12)
