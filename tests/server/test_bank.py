"""The bank: addressed by digest, bounded in bytes, built aside, and no version loaded twice."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapters_store.versions import Version
from server.bank import Bank
from ssvd_asr.errors import AdapterError

CORE_BYTES = 10 * 10 * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "adapter"
    path.write_bytes(b"x")
    return path


def version(file: Path, number: int, name: str = "child", digest: str | None = None) -> Version:
    return Version(name, number, digest or f"{number:064x}", 1, file, builtin=False, published_at=None)


def load(version: Version) -> Mapping[str, Tensor]:
    return {"layer": torch.full((10, 10), float(version.version))}


def test_the_least_recently_asked_for_leaves_when_the_bound_is_reached(file: Path) -> None:
    bank = Bank(load, max_bytes=2 * CORE_BYTES)
    first, second, third = (version(file, number) for number in (1, 2, 3))
    held = bank.get(first)
    bank.get(second)
    bank.get(first)
    bank.get(third)
    assert first.sha256 in bank
    assert second.sha256 not in bank
    assert bank.nbytes == 2 * CORE_BYTES
    bank.get(second)
    assert first.sha256 not in bank
    assert held.cores["layer"][0, 0] == 1  # who holds an entry keeps it


def test_a_version_larger_than_the_bank_is_refused_with_the_setting(file: Path) -> None:
    bank = Bank(load, max_bytes=CORE_BYTES - 1)
    with pytest.raises(AdapterError, match=r"400 bytes .* 399 \(SSVD_BANK_MAX_BYTES\)"):
        bank.get(version(file, 1))
    assert bank.nbytes == 0


def test_a_version_asked_for_by_many_at_once_is_loaded_once(file: Path) -> None:
    loads: list[str] = []
    go = threading.Event()

    def slowly(version: Version) -> Mapping[str, Tensor]:
        loads.append(version.reference)
        assert go.wait(10)
        return load(version)

    bank = Bank(slowly, max_bytes=10**6)
    threads = [threading.Thread(target=bank.get, args=(version(file, 1),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert loads == ["child@1"]


def test_loading_one_version_does_not_hold_up_a_loaded_one(file: Path) -> None:
    loading, go = threading.Event(), threading.Event()

    def slow_second(version: Version) -> Mapping[str, Tensor]:
        if version.version == 2:
            loading.set()
            assert go.wait(10)
        return load(version)

    bank = Bank(slow_second, max_bytes=10**6)
    bank.get(version(file, 1))
    thread = threading.Thread(target=bank.get, args=(version(file, 2),))
    thread.start()
    assert loading.wait(10)
    assert bank.get(version(file, 1)).version == 1  # would never return if it waited
    assert version(file, 2).sha256 not in bank  # nothing half built is seen
    go.set()
    thread.join(10)
    assert version(file, 2).sha256 in bank


def test_one_content_under_two_names_is_held_once_and_answers_to_both(file: Path) -> None:
    bank = Bank(load, max_bytes=10**6)
    child = bank.get(version(file, 1, "child", digest="a" * 64))
    kids = bank.get(version(file, 4, "kids", digest="a" * 64))
    assert (child.name, child.version) == ("child", 1)
    assert (kids.name, kids.version) == ("kids", 4)
    assert bank.nbytes == CORE_BYTES


def test_a_refused_file_is_not_read_again_until_it_changes(file: Path) -> None:
    loads: list[str] = []
    broken = True

    def refuse(version: Version) -> Mapping[str, Tensor]:
        loads.append(version.reference)
        if broken:
            raise AdapterError("layer 7 is missing")
        return load(version)

    bank = Bank(refuse, max_bytes=10**6)
    for _ in range(3):
        with pytest.raises(AdapterError, match="child@1 is refused: layer 7 is missing"):
            bank.get(version(file, 1))
    assert len(loads) == 1
    broken = False
    file.write_bytes(b"mended")
    assert bank.get(version(file, 1)).version == 1


def test_a_file_that_is_gone_is_refused(file: Path) -> None:
    file.unlink()
    with pytest.raises(AdapterError, match="child@1: its file is gone"):
        Bank(load, max_bytes=10**6).get(version(file, 1))
