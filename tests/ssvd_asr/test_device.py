"""The device and dtype settings say what they stand for, or why not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ssvd_asr import device as module
from ssvd_asr.device import DEVICES, DTYPES, resolve_device, resolve_dtype, slow_in
from ssvd_asr.errors import SsvdError


def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    assert current == [1]
    with pytest.raises(SsvdError, match="'cuda:2': torch sees 2"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SsvdError, match="'cuda': torch sees 0"):
        resolve_device("cuda")


@pytest.mark.parametrize("setting", ["", "gpu", "cpu:0", "cuda:x", "cuda:-1"])
def test_unknown_devices_are_refused_with_the_known_ones(setting: str) -> None:
    with pytest.raises(SsvdError, match=DEVICES[0]):
        resolve_device(setting)


def test_bfloat16_is_used_only_where_asked_for_and_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    assert resolve_dtype("auto", cuda) == resolve_dtype("float32") == torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert resolve_dtype("bfloat16", cuda) == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(SsvdError, match="not supported by cuda"):
        resolve_dtype("bfloat16", cuda)
    with pytest.raises(SsvdError, match=DTYPES[0]):
        resolve_dtype("half")


@pytest.mark.parametrize(("flags", "slow"), [("sse avx512f", True), ("sse avx512_bf16", False)])
def test_a_cpu_that_imitates_bfloat16_is_known(
    flags: str, slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"flags\t: fpu {flags}\n", encoding="utf-8")
    monkeypatch.setattr(module, "CPU_INFO", info)
    assert slow_in(torch.bfloat16, torch.device("cpu")) is slow
    assert not slow_in(torch.float32, torch.device("cpu"))
    assert not slow_in(torch.bfloat16, torch.device("cuda"))
