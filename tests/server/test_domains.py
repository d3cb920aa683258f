"""Names are resolved on disk when they are asked for; what served before goes on serving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adapters_store.store import AdapterStore
from server.bank.bank import Bank
from server.domains import Domains
from ssvd_asr.errors import AdapterError, UnknownDomainError
from tests.server.fakes import FakeRecogniser, read_packed, write_adapter


@pytest.fixture
def domains(store: AdapterStore, recogniser: FakeRecogniser) -> Domains:
    return Domains(store, Bank(recogniser, max_bytes=10**6, host_max_bytes=10**6, load_timeout_s=30))


def test_a_publish_is_served_by_the_next_lease(domains: Domains, store: AdapterStore, tmp_path: Path) -> None:
    before = domains.lease("child")
    published = store.publish("child", write_adapter(tmp_path / "child3", 30))
    after = domains.lease("child")
    assert (before.version, after.version) == (2, 3)
    assert after.sha256 == published.sha256
    store.rollback("child")
    assert domains.lease("child").sha256 == before.sha256


def test_a_lease_is_not_touched_by_what_is_published_later(
    domains: Domains, store: AdapterStore, tmp_path: Path
) -> None:
    lease = domains.lease("child")
    store.publish("child", write_adapter(tmp_path / "child3", 30))
    domains.lease("child")
    assert lease.version == 2
    packed = read_packed(store.resolve("child@2"))
    assert torch.equal(lease.packed.numbers, packed.numbers)


@pytest.mark.parametrize("pin", ["child@1", "child@sha256:"])
def test_a_version_can_be_pinned(domains: Domains, store: AdapterStore, pin: str) -> None:
    wanted = store.resolve("child@1")
    lease = domains.lease(pin + wanted.sha256 if pin.endswith(":") else pin)
    assert (lease.version, lease.sha256) == (1, wanted.sha256)


@pytest.mark.parametrize("name", ["klingon", "child@9", "../child", "CHILD", "child@", ""])
def test_an_unknown_name_is_an_error_and_never_the_base(domains: Domains, name: str) -> None:
    with pytest.raises(UnknownDomainError):
        domains.lease(name)


def test_a_refused_version_leaves_the_one_served_before_in_place(
    domains: Domains, store: AdapterStore, recogniser: FakeRecogniser, tmp_path: Path
) -> None:
    domains.lease("child")
    bad = store.publish("child", write_adapter(tmp_path / "bad", 30))
    recogniser.refuse.add(bad.sha256)
    assert domains.lease("child").version == 2
    assert domains.lease("child").version == 2
    assert recogniser.loads.count("child@3") == 1


def test_after_a_restart_the_newest_older_version_that_loads_serves(
    domains: Domains, store: AdapterStore, recogniser: FakeRecogniser, tmp_path: Path
) -> None:
    bad = store.publish("child", write_adapter(tmp_path / "bad", 30))
    recogniser.refuse |= {bad.sha256, store.resolve("child@2").sha256}
    assert domains.lease("child").version == 1


def test_a_refused_pin_is_refused(domains: Domains, store: AdapterStore, recogniser: FakeRecogniser) -> None:
    domains.lease("child@1")
    recogniser.refuse.add(store.resolve("child@2").sha256)
    with pytest.raises(AdapterError, match="child@2 is refused: its singular values are of another planet"):
        domains.lease("child@2")


def test_where_nothing_was_before_the_reason_is_told(
    domains: Domains, store: AdapterStore, recogniser: FakeRecogniser
) -> None:
    recogniser.refuse.add(store.resolve("scottish").sha256)
    with pytest.raises(AdapterError, match="scottish@1 is refused: its singular values"):
        domains.lease("scottish")


def test_a_file_changed_on_disk_is_refused(domains: Domains, store: AdapterStore) -> None:
    path = store.resolve("scottish").path
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(AdapterError, match="has changed"):
        domains.lease("scottish")
