"""Triton kernel of one linear per block of rows, for a decoder's step. Import it only where Triton is.

Torch has no product of batched matrices that adds a bias on the way, and cuBLAS is slow at few rows a matrix:
4 blocks of 16 rows by 1024 x 1024 weights take an H200 8.1 us by `bmm` and `add_`, 5.3 us by this kernel, and
the same rows by one weight 4.9 us.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

INNER = 128  # of n, read at a time
WIDE = 2048  # outputs from which on a program computes 64 of them, else 32


# Triton reads the annotations, and knows none but its own.
@triton.jit  # type: ignore[untyped-decorator]
def _linear_per_block(  # type: ignore[no-untyped-def]
    x, weights, bias, y, rows, m, n, ROWS: tl.constexpr, OUT: tl.constexpr, INNER: tl.constexpr
):
    """Write OUT outputs of ROWS rows of one block: x (S rows, n), weights (S, m, n), bias (m,)."""
    block = tl.program_id(1)
    out = tl.program_id(0) * OUT + tl.arange(0, OUT)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    inner = tl.arange(0, INNER)
    held = row[:, None] < rows
    heard = x + (block * rows + row).to(tl.int64)[:, None] * n + inner[None, :]
    weight = weights + (block * m + out).to(tl.int64)[:, None] * n + inner[None, :]
    total = tl.zeros((ROWS, OUT), tl.float32)
    for _ in range(0, n, INNER):
        total = tl.dot(tl.load(heard, mask=held, other=0.0), tl.load(weight).T, total)
        heard += INNER
        weight += INNER
    total += tl.load(bias + out).to(tl.float32)[None, :]
    place = y + (block * rows + row).to(tl.int64)[:, None] * m + out[None, :]
    tl.store(place, total.to(y.dtype.element_ty), mask=held)


def fits(m: int, n: int) -> bool:
    """Return whether the kernel takes weights (m, n)."""
    return n % INNER == 0 and m % _outputs(m) == 0


def linear_per_block(x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Map x (S R, n), R rows of each block, by weights (S, m, n) and bias (m,) to (S R, m).

    All are contiguous and in half precision; products are summed in float32.
    """
    blocks, m, n = weights.shape
    rows = len(x) // blocks
    y = x.new_empty(len(x), m)
    together = 16 if rows <= 16 else 32 if rows <= 32 else 64
    outputs = _outputs(m)
    _linear_per_block[(m // outputs, blocks, triton.cdiv(rows, together))](
        x, weights, bias, y, rows, m, n,
        ROWS=together, OUT=outputs, INNER=INNER, num_warps=4, num_stages=4 if m >= WIDE else 5,
    )  # fmt: skip
    return y


def _outputs(m: int) -> int:
    return 64 if m >= WIDE else 32
