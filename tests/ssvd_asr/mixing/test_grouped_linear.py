"""Blocks of rows, each by its own weight, get what each would get alone; the kernel too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from ssvd_asr.mixing.grouped_linear import grouped_linear
from tests.devices import DEVICES

# Triton's interpreter takes the place of a GPU. It must be asked for before Triton is imported.
INTERPRETED = """
import torch
from torch.nn import functional
from ssvd_asr.mixing.grouped_kernel import fits, linear_per_block
torch.manual_seed(0)
for blocks, rows, m, n in ((4, 5, 64, 256), (2, 16, 2048, 128), (3, 70, 32, 128)):
    assert fits(m, n)
    x, weights, bias = torch.randn(blocks * rows, n), torch.randn(blocks, m, n), torch.randn(m)
    pairs = zip(x.view(blocks, rows, n), weights, strict=True)
    alone = torch.cat([functional.linear(part, weight, bias) for part, weight in pairs])
    torch.testing.assert_close(linear_per_block(x, weights, bias), alone, atol=1e-4, rtol=1e-4)
assert not fits(50, 128) and not fits(64, 100)
"""


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("blocks", "rows", "m", "n"), [(1, 7, 64, 128), (4, 3, 64, 128), (3, 20, 2048, 256), (2, 1, 50, 24)]
)
@pytest.mark.parametrize("biased", [True, False])
def test_each_block_gets_what_it_would_get_alone(
    device: str, dtype: torch.dtype, blocks: int, rows: int, m: int, n: int, biased: bool
) -> None:
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device, dtype)

    x, weights, bias = random(blocks * rows, n), random(blocks, m, n), random(m) if biased else None
    pairs = zip(x.view(blocks, rows, n), weights, strict=True)
    alone = torch.cat([functional.linear(part, weight, bias) for part, weight in pairs])
    close = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(grouped_linear(x, weights, bias), alone, atol=10 * close, rtol=close)


def test_the_kernel_computes_the_same_in_tritons_interpreter() -> None:
    pytest.importorskip("triton")
    subprocess.run(
        [sys.executable, "-c", INTERPRETED], env={**os.environ, "TRITON_INTERPRET": "1"}, check=True
    )


def test_the_kernel_compiles_for_a_gpu_that_is_not_here() -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ssvd_asr.mixing.grouped_kernel import _linear_per_block

    pointers = dict.fromkeys(("x", "weights", "bias", "y"), "*bf16")
    numbers = dict.fromkeys(("rows", "m", "n"), "i32")
    sizes = {"ROWS": 16, "OUT": 32, "INNER": 128}
    source = ASTSource(
        _linear_per_block, {**pointers, **numbers, **dict.fromkeys(sizes, "constexpr")}, constexprs=sizes
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert "mma" in compiled.asm["ptx"]  # tensor cores
