"""The bank: what waits to be staged is bounded, and no lease is lost, however loading goes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from adapters_store.store import AdapterStore
from server.bank.bank import Bank
from server.bank.loader import Loader
from server.bank.packed import PackedAdapter
from server.domains import Domains
from tests.server.fakes import TIMEOUT_S, FakeRecogniser


@pytest.fixture
def bank(recogniser: FakeRecogniser) -> Iterator[Bank]:
    made = Bank(recogniser, max_bytes=10**6, host_max_bytes=10**6, max_blends=4, load_timeout_s=TIMEOUT_S)
    yield made
    made.close()


def busy(bank: Bank) -> threading.Event:
    """Keep the loading thread busy until what is returned is set."""
    go, begun = threading.Event(), threading.Event()
    bank._loader.submit(lambda: (begun.set(), go.wait(TIMEOUT_S)))
    assert begun.wait(TIMEOUT_S)
    return go


def loaded(bank: Bank, store: AdapterStore, name: str) -> None:
    """In host memory, and in no slot."""
    version = store.resolve(name)
    bank._loader.wait(bank._loader.submit(lambda: bank.host.load_here(version)), TIMEOUT_S)


def finish(bank: Bank) -> None:
    """Wait for all that is queued, ahead too."""
    bank._loader.wait(bank._loader.submit(lambda: None, ahead=True), TIMEOUT_S)


def test_a_version_is_queued_for_a_slot_once_however_often_it_is_leased(
    bank: Bank, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(bank, store, "child")
    staged: list[str] = []
    stage = bank.slots.stage

    def counted(sha256: str, packed: PackedAdapter, *, only_if_spare: bool = False) -> bool:
        staged.append(sha256)
        return stage(sha256, packed, only_if_spare=only_if_spare)

    monkeypatch.setattr(bank.slots, "stage", counted)
    version = store.resolve("child")
    go = busy(bank)
    leases = [bank.lease(version) for _ in range(50)]
    assert bank._loader._tasks.qsize() == 1
    go.set()
    finish(bank)
    assert staged == [version.sha256]
    for lease in leases:
        lease.release()
    # And again later, should it have left its slot.
    bank.slots._residents.clear()
    with bank.lease(version):
        finish(bank)
    assert staged == [version.sha256] * 2


def test_what_nobody_wants_any_more_is_not_staged(bank: Bank, store: AdapterStore) -> None:
    loaded(bank, store, "child")
    version, go = store.resolve("child"), busy(bank)
    bank.lease(version).release()
    go.set()
    finish(bank)
    assert bank.where(version.sha256) == "host"


def test_a_lease_is_given_back_where_no_thread_can_be_started(
    bank: Bank, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(bank, store, "child")
    version = store.resolve("child")

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Loader, "submit", full)
    with pytest.raises(RuntimeError, match="new thread"):
        bank.lease(version)
    assert not bank.host.leased(version.sha256)


def test_only_what_is_in_host_memory_is_at_hand(bank: Bank, store: AdapterStore) -> None:
    """A lease needs the numbers there: what has a slot alone is read from its file again."""
    domains = Domains(store, bank)
    assert not domains.at_hand("child")
    with domains.lease("child") as lease:
        finish(bank)
        assert bank.where(lease.sha256) == "slot"
    assert domains.at_hand("child")
    bank.host._entries.clear()
    assert bank.where(lease.sha256) == "slot"
    assert not domains.at_hand("child")
