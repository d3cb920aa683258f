"""The k x k maths of SSVD: the core D that a layer adds to its frozen weight, from the trained numbers.

    W' x = W x + U_k D V_k^T x,    D = S (G - I) + dS G

Only G - I is formed. Computing (S + dS) G - S as printed in the paper subtracts two nearly equal matrices
(0.5-1.7 % error on D's diagonal in float32), and an untrained adapter would not be exactly zero.
All functions take leading batch axes, so that the layers of one k are computed together.

Source: SSVD, arXiv 2509.02830, section III.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ssvd_asr.adapter.forms import DEFAULT_MAP, MAPS, CoreMap, RotationMap, skew_size
from ssvd_asr.errors import AdapterError

__all__ = [
    "DEFAULT_MAP",
    "MAPS",
    "RotationMap",
    "at_least_float32",
    "core",
    "rotation_delta",
    "skew_matrix",
    "skew_order",
    "skew_size",
    "skew_vector",
]


def skew_order(size: int) -> int:
    """Return the k whose skew matrices have `size` numbers (an empty vector counts as k = 1).

    Raises AdapterError where no k fits.
    """
    k = (1 + math.isqrt(1 + 8 * size)) // 2
    if skew_size(k) != size:
        raise AdapterError(f"a skew vector of {size} numbers fits no k: k (k - 1) / 2 is wanted")
    return k


def skew_matrix(vector: Tensor, k: int | None = None) -> Tensor:
    """Spread (..., k (k - 1) / 2) numbers into skew-symmetric matrices (..., k, k).

    The vector holds the strict upper triangle row by row: K[0,1], K[0,2], ..., K[1,2], ... The lower
    triangle is its negative.

    Raises AdapterError where the vector's length does not match k.
    """
    order = skew_order(vector.shape[-1])
    if k is None:
        k = order
    elif order != k:
        raise AdapterError(f"k={k} needs {skew_size(k)} skew numbers, got {vector.shape[-1]}")
    rows, columns = torch.triu_indices(k, k, offset=1, device=vector.device)
    upper = vector.new_zeros(*vector.shape[:-1], k, k)
    upper[..., rows, columns] = vector
    return upper - upper.mT


def skew_vector(matrix: Tensor) -> Tensor:
    """Read the strict upper triangle of (..., k, k) row by row: the inverse of `skew_matrix`."""
    k = matrix.shape[-1]
    rows, columns = torch.triu_indices(k, k, offset=1, device=matrix.device)
    return matrix[..., rows, columns]


def rotation_delta(kind: CoreMap, parameter: Tensor) -> Tensor:
    """Return G - I, (..., k, k), in float32 or better, also under autocast.

    Args:
        kind: `cayley`: G = (I - K)(I + K)^-1; `first-order`: G = I - 2 K; `free`: G is unconstrained.
        parameter: the skew vector (..., k (k - 1) / 2); for `free` the matrix G - I (..., k, k) itself.

    Raises AdapterError for a map that is no rotation of SSVD.
    """
    with _full_precision(parameter):
        parameter = at_least_float32(parameter)
        if kind == "free":
            return parameter
        if kind == "first-order":
            return -2.0 * skew_matrix(parameter)
        if kind == "cayley":
            # (I - K)(I + K)^-1 - I = -2 K (I + K)^-1 = (I + K)^-1 (-2 K): K commutes with its own functions.
            # I + K is never singular, because the eigenvalues of K are imaginary.
            skew = skew_matrix(parameter)
            identity = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
            solution: Tensor = torch.linalg.solve(identity + skew, -2.0 * skew)
            return solution
    raise AdapterError(f"rotation map {kind!r} is not one of {', '.join(MAPS)}")


def core(sigma: Tensor, g_minus_i: Tensor, delta_sigma: Tensor | None = None) -> Tensor:
    """Return D = S (G - I) + dS G, (..., k, k), in the dtype of `g_minus_i`.

    Computed as (S + dS)(G - I) + dS, which is equal and subtracts no large numbers. Zero parameters give
    exactly zero.

    Args:
        sigma: the singular values (..., k) of the layer's directions that change.
        g_minus_i: G - I (..., k, k).
        delta_sigma: trained changes of the singular values (..., k); None where they do not train.
    """
    with _full_precision(g_minus_i):
        g_minus_i = at_least_float32(g_minus_i)
        if delta_sigma is None:
            return sigma.to(g_minus_i.dtype).unsqueeze(-1) * g_minus_i
        delta_sigma = delta_sigma.to(g_minus_i.dtype)
        scale = sigma.to(g_minus_i.dtype) + delta_sigma
        return scale.unsqueeze(-1) * g_minus_i + torch.diag_embed(delta_sigma)


def outer_core(sigma: Tensor, inner: Tensor, o_minus_i: Tensor) -> Tensor:
    """Return D = O (S + dS) G - S, (..., k, k): a second rotation, on the side of U.

    Computed as inner + (O - I)(S + inner), since (S + dS) G is S + inner. Zero parameters give exactly zero.
    Modelled on SSVD-O, arXiv 2601.12600.

    Args:
        sigma: the singular values (..., k) of the layer's directions that change.
        inner: the core of the inner rotation, as `core` returns it.
        o_minus_i: O - I (..., k, k).
    """
    with _full_precision(inner):
        return inner + o_minus_i @ (torch.diag_embed(sigma.to(inner.dtype)) + inner)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the tensor itself if it is float32 or float64, else the tensor in float32."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


@contextmanager
def _full_precision(tensor: Tensor) -> Iterator[None]:
    """Turn autocast off for this device: products in bfloat16 would lose the precision kept here."""
    with torch.autocast(tensor.device.type, enabled=False):
        yield
