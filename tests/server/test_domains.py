"""Names are resolved on disk when they are asked for; what served before goes on serving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adapters_store.packaged import write_builtin
from adapters_store.store import AdapterStore
from server.bank.bank import Bank, Lease
from server.domains import Domains, hiding
from server.errors import BankFullError
from ssvd_asr.errors import AdapterError, BlendFormError, UnknownDomainError
from tests.server.fakes import FakeRecogniser, read_packed, write_adapter


@pytest.fixture
def domains(store: AdapterStore, recogniser: FakeRecogniser) -> Domains:
    return Domains(
        store, Bank(recogniser, max_bytes=10**6, host_max_bytes=10**6, max_blends=4, load_timeout_s=30)
    )


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


def test_an_alias_of_a_hidden_domain_is_hidden_and_not_a_domain_with_its_name(
    domains: Domains, store: AdapterStore, tmp_path: Path
) -> None:
    hidden = frozenset({"child"})
    store.set_alias("carib", "child")
    store.set_alias("first", "child@1")
    for reference in ("carib", "carib@2", "first", "first@1"):
        name = reference.partition("@")[0]
        for ask in (hiding(store, hidden), lambda asked: domains.lease(asked, hidden)):
            with pytest.raises(UnknownDomainError, match=f"^no domain '{name}' in the store$"):
                ask(reference)
    write_builtin(store.builtin, "carib", write_adapter(tmp_path / "carib1", 4))
    assert hiding(store, hidden)("carib").builtin
    with pytest.raises(UnknownDomainError, match="domain 'carib' has no versions 2"):
        hiding(store, hidden)("carib@2")


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


def told(lease: Lease) -> list[tuple[str, int, float]]:
    return [(part.version.name, part.version.version, part.weight) for part in lease.parts]


@pytest.fixture
def alike(store: AdapterStore, tmp_path: Path) -> AdapterStore:
    """`child` and `scottish` of one basis and form, with numbers that are not zero."""
    store.publish("child", write_adapter(tmp_path / "c", 5, loud=1))
    store.publish("scottish", write_adapter(tmp_path / "s", 5, loud=2))
    return store


BLEND = "child*0.8+scottish*0.5"


@pytest.mark.usefixtures("alike")
def test_a_blend_names_its_parts_and_is_shared_by_both_orders(domains: Domains) -> None:
    lease, other = domains.lease(BLEND), domains.lease("scottish*0.5+child*0.8")
    assert (lease.name, lease.version, told(lease)) == (
        BLEND,
        None,
        [("child", 3, 0.8), ("scottish", 2, 0.5)],
    )
    assert other.sha256 == lease.sha256
    assert other.packed is lease.packed
    assert domains.at_hand(BLEND)
    alone = [domains.lease(name).packed.numbers.double() for name in ("child", "scottish")]
    torch.testing.assert_close(
        lease.packed.numbers.double(), 0.8 * alone[0] + 0.5 * alone[1], rtol=1e-3, atol=0
    )


@pytest.mark.usefixtures("alike")
def test_a_blend_of_one_whole_part_is_the_domain_itself(domains: Domains) -> None:
    assert domains.lease("child*1.0").sha256 == domains.lease("child").sha256
    assert domains.lease("child*0.5").sha256 != domains.lease("child").sha256


def test_a_blend_is_not_touched_by_what_becomes_of_its_parts(
    domains: Domains, alike: AdapterStore, tmp_path: Path
) -> None:
    lease = domains.lease(BLEND)
    numbers = lease.packed.numbers.clone()
    alike.publish("child", write_adapter(tmp_path / "next", 5, loud=3))
    alike.remove("scottish", 2)
    assert torch.equal(lease.packed.numbers, numbers)
    assert told(domains.lease(BLEND)) == [("child", 4, 0.8), ("scottish", 1, 0.5)]


def test_a_refused_part_is_answered_by_the_version_served_before(
    domains: Domains, alike: AdapterStore, recogniser: FakeRecogniser, tmp_path: Path
) -> None:
    bad = alike.publish("child", write_adapter(tmp_path / "bad", 5, loud=3))
    recogniser.refuse.add(bad.sha256)
    assert told(domains.lease(BLEND)) == [("child", 3, 0.8), ("scottish", 2, 0.5)]
    with pytest.raises(AdapterError, match="child@4 is refused"):
        domains.lease("child@4*0.8+scottish*0.5")


def test_parts_of_different_sizes_are_refused(domains: Domains, alike: AdapterStore, tmp_path: Path) -> None:
    alike.publish("small", write_adapter(tmp_path / "small", 5, loud=1, k=1))
    with pytest.raises(BlendFormError, match=r"one changes \d directions from 0 on, the other \d from"):
        domains.lease("child*0.5+small*0.5")


@pytest.mark.parametrize("text", ["child*0.5+klingon*0.5", "child@9*0.5", "klingon*1"])
def test_an_unknown_part_is_an_error(domains: Domains, text: str) -> None:
    with pytest.raises(UnknownDomainError):
        domains.lease(text)


@pytest.mark.usefixtures("alike")
def test_blends_in_use_are_limited_and_the_domains_stay(domains: Domains) -> None:
    held = [domains.lease(f"child*0.{digit}") for digit in range(1, 5)]
    with pytest.raises(BankFullError, match="SSVD_BANK_MAX_BLENDS"):
        domains.lease("child*0.5")
    assert domains.lease("child*0.1").sha256 == held[0].sha256  # one that is in use already
    held[1].release()
    domains.lease("child*0.5").release()


@pytest.mark.usefixtures("alike")
def test_any_number_of_blends_evicts_blends_and_no_domain(
    store: AdapterStore, recogniser: FakeRecogniser
) -> None:
    size = recogniser.read_adapter(store.resolve("child")).nbytes
    bank = Bank(recogniser, max_bytes=10**6, host_max_bytes=5 * size, max_blends=4, load_timeout_s=30)
    domains = Domains(store, bank)
    domains.lease("scottish").release()  # used least recently
    recogniser.loads.clear()
    for digit in range(1000, 1100):
        domains.lease(f"child*0.{digit}").release()
    assert recogniser.loads == ["child@3"]
    assert domains.at_hand("scottish")
    assert len(bank.host._entries) == 5
    assert len(bank.host._blends) == 3
    assert set(domains._served) == {"scottish", "child"}
