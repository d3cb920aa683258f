"""Choice of device and number format, by one rule for training, serving and evaluating."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssvd_asr.errors import SsvdError

if TYPE_CHECKING:
    import torch

CPU_INFO = Path("/proc/cpuinfo")
DEVICES = ("auto", "cpu", "cuda")  # "cuda:1" and so on are accepted too
DTYPES = ("auto", "float32", "bfloat16")


def resolve_device(setting: str = "auto") -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:<index>` stands for on this machine.

    `auto` is the first CUDA device where torch sees one, else the CPU. `cuda:<index>` also becomes torch's
    current device.

    Raises:
        SsvdError: an unknown name, or a CUDA device that torch does not see.
    """
    import torch

    name, _, index = setting.partition(":")
    known = name in DEVICES and (not index or (name == "cuda" and index.isdecimal()))
    if not known:
        raise SsvdError(f"device {setting!r} is not one of {', '.join(DEVICES)} or cuda:<index>")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= present:
            raise SsvdError(f"device {setting!r}: torch sees {present} CUDA devices; use auto or cpu")
        if index:
            torch.cuda.set_device(int(index))  # a wait for the current device then waits for this one
    return torch.device(setting)


def resolve_dtype(setting: str = "auto", device: torch.device | None = None) -> torch.dtype:
    """Return the working dtype that `auto`, `float32` or `bfloat16` stands for on `device`.

    `auto` is float32 on every device. bfloat16 halves memory but may change a token, so it must be requested.

    Raises:
        SsvdError: an unknown name, or bfloat16 on a CUDA device that cannot compute in it.
    """
    import torch

    if setting not in DTYPES:
        raise SsvdError(f"dtype {setting!r} is not one of {', '.join(DTYPES)}")
    if setting != "bfloat16":
        return torch.float32
    if (
        device is not None
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise SsvdError(f"dtype 'bfloat16' is not supported by {device}; use float32")
    return torch.bfloat16


def slow_in(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether `device` only emulates `dtype`.

    That is bfloat16 on a CPU without AVX512-BF16, AMX or Arm's BF16, as Linux lists them.
    """
    import torch

    if dtype is not torch.bfloat16 or device.type != "cpu":
        return False
    flags = set(CPU_INFO.read_text(encoding="utf-8").split()) if CPU_INFO.is_file() else set()
    return not flags & {"avx512_bf16", "amx_bf16", "bf16"}  # bf16: Arm's name


def forbid_tf32() -> None:
    """Turn TF32 off on CUDA devices for the whole process.

    By default, cuDNN's convolutions round float32 to 10 bits of mantissa (TF32). A row's words could then
    depend on the batch that the row is in.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
