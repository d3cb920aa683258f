"""Host memory: addressed by digest, bounded in bytes, what is leased stays, no version loaded twice."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from adapters_store.versions import Version
from server.bank.host_tier import RETRIES, HostTier
from server.bank.loader import Loader, LoaderError
from server.bank.packed import Layout, PackedAdapter
from server.errors import BankFullError
from ssvd_asr.errors import AdapterError, AdapterUnreadableError

NBYTES = 100  # of one version
MakeTier = Callable[..., HostTier]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "adapter"
    path.write_bytes(b"x")
    return path


@pytest.fixture
def tier() -> Iterator[MakeTier]:
    """Makes tiers whose loaders end with the test."""
    loaders: list[Loader] = []

    def make(
        read: Callable[[Version], PackedAdapter] | None = None, max_bytes: int = 10**6, timeout_s: float = 10
    ) -> HostTier:
        loaders.append(Loader())
        return HostTier(
            read or packed, loaders[-1], max_bytes=max_bytes, max_blends=4, load_timeout_s=timeout_s
        )

    yield make
    for loader in loaders:
        loader.close()


def version(file: Path, number: int, name: str = "child", digest: str | None = None) -> Version:
    return Version(name, number, digest or f"{number:064x}", 1, file, builtin=False, published_at=None)


def packed(version: Version) -> PackedAdapter:
    numbers = torch.full((NBYTES // 2,), float(version.version), dtype=torch.float16)
    return PackedAdapter(Layout("first-order", "F16", 0, NBYTES // 2, ()), numbers)


def used(tier: HostTier, version: Version) -> PackedAdapter:
    """Leased and given back."""
    found = tier.acquire(version)
    tier.release(version.sha256)
    return found


def test_the_least_recently_leased_leaves_when_the_bound_is_reached(tier: MakeTier, file: Path) -> None:
    bounded = tier(max_bytes=2 * NBYTES)
    first, second, third = (version(file, number) for number in (1, 2, 3))
    for each in (first, second, first, third):
        used(bounded, each)
    assert first.sha256 in bounded
    assert second.sha256 not in bounded
    assert bounded.nbytes == 2 * NBYTES


def test_what_is_leased_stays_where_another_can_leave(tier: MakeTier, file: Path) -> None:
    bounded = tier(max_bytes=2 * NBYTES)
    leased, spare, third = (version(file, number) for number in (1, 2, 3))
    bounded.acquire(leased)  # the least recently leased of both
    used(bounded, spare)
    used(bounded, third)
    assert [each.sha256 in bounded for each in (leased, spare, third)] == [True, False, True]
    assert bounded.waiting(leased.sha256) is not None
    assert bounded.waiting(third.sha256) is None


def test_what_is_leased_is_never_evicted_and_what_has_no_room_is_told(tier: MakeTier, file: Path) -> None:
    bounded = tier(max_bytes=2 * NBYTES)
    first, second, third = (version(file, number) for number in (1, 2, 3))
    bounded.acquire(first)
    bounded.acquire(first)
    bounded.acquire(second)
    with pytest.raises(BankFullError, match=r"100 bytes and 200 are in use.*200 \(SSVD_BANK_HOST_MAX_BYTES"):
        bounded.acquire(third)
    assert first.sha256 in bounded
    assert second.sha256 in bounded
    bounded.release(first.sha256)
    with pytest.raises(BankFullError):  # one of its two leases is left
        bounded.acquire(third)
    bounded.release(first.sha256)
    assert used(bounded, third).numbers[0] == 3
    assert first.sha256 not in bounded


def test_a_version_larger_than_the_tier_is_refused_with_the_setting(tier: MakeTier, file: Path) -> None:
    small = tier(max_bytes=NBYTES - 1)
    with pytest.raises(AdapterError, match=r"100 bytes .* 99 \(SSVD_BANK_HOST_MAX_BYTES\)"):
        small.acquire(version(file, 1))
    assert small.nbytes == 0


def test_a_version_asked_for_by_many_at_once_is_loaded_once(tier: MakeTier, file: Path) -> None:
    loads: list[str] = []
    go = threading.Event()

    def slowly(version: Version) -> PackedAdapter:
        loads.append(version.reference)
        assert go.wait(10)
        return packed(version)

    many = tier(slowly)
    threads = [threading.Thread(target=many.acquire, args=(version(file, 1),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert loads == ["child@1"]
    for _ in range(8):
        assert many.leased(version(file, 1).sha256)
        many.release(version(file, 1).sha256)
    assert not many.leased(version(file, 1).sha256)


def test_loading_one_version_does_not_hold_up_a_loaded_one(tier: MakeTier, file: Path) -> None:
    loading, go = threading.Event(), threading.Event()

    def slow_second(version: Version) -> PackedAdapter:
        if version.version == 2:
            loading.set()
            assert go.wait(10)
        return packed(version)

    busy = tier(slow_second)
    used(busy, version(file, 1))
    thread = threading.Thread(target=used, args=(busy, version(file, 2)))
    thread.start()
    assert loading.wait(10)
    assert used(busy, version(file, 1)).numbers[0] == 1  # would never return if it waited
    assert version(file, 2).sha256 not in busy  # nothing half built is seen
    go.set()
    thread.join(10)
    assert version(file, 2).sha256 in busy


def test_a_load_that_takes_too_long_is_told_and_still_ends(tier: MakeTier, file: Path) -> None:
    go = threading.Event()

    def slowly(version: Version) -> PackedAdapter:
        assert go.wait(10)
        return packed(version)

    slow = tier(slowly, timeout_s=0.05)
    with pytest.raises(BankFullError, match=r"child@1 was not loaded within 0\.05 s \(SSVD_LOAD_TIMEOUT_S\)"):
        slow.acquire(version(file, 1))
    go.set()
    slow.load_timeout_s = 10
    assert slow.acquire(version(file, 1)).numbers[0] == 1


def test_a_disk_s_own_timeout_is_not_told_as_the_load_s(tier: MakeTier, file: Path) -> None:
    def unreachable(_: Version) -> PackedAdapter:
        raise TimeoutError(errno.ETIMEDOUT, "the network disk does not answer")

    with pytest.raises(TimeoutError, match="the network disk does not answer"):
        tier(unreachable, timeout_s=60).acquire(version(file, 1))


def test_one_content_under_two_names_is_held_once(tier: MakeTier, file: Path) -> None:
    shared = tier()
    child = shared.acquire(version(file, 1, "child", digest="a" * 64))
    kids = shared.acquire(version(file, 4, "kids", digest="a" * 64))
    assert child is kids
    assert shared.nbytes == NBYTES


def test_a_refused_file_is_not_read_again_until_it_changes(tier: MakeTier, file: Path) -> None:
    loads: list[str] = []
    broken = True

    def refuse(version: Version) -> PackedAdapter:
        loads.append(version.reference)
        if broken:
            raise AdapterError("layer 7 is missing")
        return packed(version)

    strict = tier(refuse)
    for _ in range(3):
        with pytest.raises(AdapterError, match="child@1 is refused: layer 7 is missing"):
            strict.acquire(version(file, 1))
    assert len(loads) == 1
    broken = False
    file.write_bytes(b"mended")
    assert strict.acquire(version(file, 1)).numbers[0] == 1


def test_a_disk_that_fails_is_asked_again(tier: MakeTier, file: Path) -> None:
    reads: list[str] = []

    def fail(version: Version) -> PackedAdapter:
        reads.append(version.reference)
        if len(reads) <= 3:
            raise AdapterUnreadableError("child@1: its file cannot be read: [Errno 5] Input/output error")
        return packed(version)

    failing = tier(fail)
    with pytest.raises(LoaderError, match=r"child@1: its file cannot be read: .* Input/output"):
        failing.acquire(version(file, 1))
    assert len(reads) == 1 + RETRIES
    assert failing.acquire(version(file, 1)).numbers[0] == 1


def test_a_file_that_is_gone_is_refused(tier: MakeTier, file: Path) -> None:
    file.unlink()
    with pytest.raises(AdapterError, match="child@1: its file is gone"):
        tier().acquire(version(file, 1))


def test_a_load_whose_thread_is_killed_is_tried_again_by_a_new_one(tier: MakeTier, file: Path) -> None:
    threads: list[threading.Thread] = []

    def kill_first(version: Version) -> PackedAdapter:
        threads.append(threading.current_thread())
        if len(threads) == 1:
            raise SystemExit
        return packed(version)

    assert tier(kill_first).acquire(version(file, 1)).numbers[0] == 1
    assert threads[0] is not threads[1]


def test_a_load_that_kills_every_thread_is_told(tier: MakeTier, file: Path) -> None:
    def kill(_: Version) -> PackedAdapter:
        raise SystemExit

    with pytest.raises(LoaderError, match=r"ended \(SystemExit\)"):
        tier(kill).acquire(version(file, 1))
