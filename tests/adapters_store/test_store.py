"""What names, numbers and digests mean, and that they go on meaning it."""

import hashlib
import json
import subprocess
import sys

import pytest

from adapters_store.packaged import write_builtin
from adapters_store.store import AdapterStore, default_place
from ssvd_asr.errors import AdapterError, StoreError, StoreRefusedError, UnknownDomainError
from tests.adapters_store.adapter_samples import adapter_bytes


def test_an_empty_store_is_empty_and_reading_makes_no_folder(tmp_path):
    store = AdapterStore(tmp_path / "root", tmp_path / "no-builtins")
    assert store.list() == []
    with pytest.raises(UnknownDomainError, match="no domain 'child'"):
        store.resolve("child")
    assert not (tmp_path / "root").exists()


def test_a_published_file_is_a_version_with_its_digest(store, make):
    version = store.publish("ward", make(1))
    assert (version.name, version.version, version.builtin) == ("ward", 1, False)
    assert version.sha256 == hashlib.sha256(adapter_bytes(1)).hexdigest()
    assert version.read_bytes() == adapter_bytes(1)
    assert version.metadata.training["seed"] == 1
    assert store.resolve("ward") == version


def test_a_second_version_is_active_and_the_first_stays(store, make):
    first, second = store.publish("ward", make(1)), store.publish("ward", make(2))
    assert (first.version, second.version) == (1, 2)
    assert store.resolve("ward") == second
    assert store.resolve("ward@1") == first
    assert store.resolve("ward@2") == second
    assert store.resolve(f"ward@sha256:{first.sha256}") == first
    assert store.resolve(f"ward@sha256:{first.sha256[:12]}") == first
    assert [version.version for version in store.versions("ward")] == [1, 2]


def test_the_published_copy_does_not_follow_its_source(store, make):
    source = make(1)
    version = store.publish("ward", source)
    source.write_bytes(b"something else")
    source.unlink()
    assert version.read_bytes() == adapter_bytes(1)


def test_publishing_the_same_bytes_again_is_the_same_version(store, make):
    first = store.publish("ward", make(1))
    store.publish("ward", make(2))
    assert store.publish("ward", make(1)) == first
    assert store.resolve("ward") == first
    assert len(store.versions("ward")) == 2
    assert store.rollback("ward").version == 2


def test_two_names_may_share_bytes_and_part_from_them_alone(store, make):
    store.publish("ward", make(1))
    store.publish("clinic", make(1))
    store.remove("ward", 1)
    assert store.resolve("clinic").read_bytes() == adapter_bytes(1)


def test_rollback_walks_back_through_what_was_active(store, make):
    for seed in (1, 2, 3):
        store.publish("ward", make(seed))
    store.activate("ward", 1)
    assert [store.rollback("ward").version for _ in range(3)] == [3, 2, 1]
    assert store.resolve("ward").version == 1
    with pytest.raises(StoreError, match="nothing was active before 1"):
        store.rollback("ward")
    assert store.resolve("ward").version == 1
    assert store.activate("ward", 3).version == 3  # what was rolled back is still there


def test_a_publish_after_a_rollback_takes_a_new_number(store, make):
    store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.rollback("ward")
    assert store.publish("ward", make(3)).version == 3
    assert store.rollback("ward").version == 1


def test_a_builtin_is_version_1_and_what_is_published_comes_after(store, make):
    builtin = store.resolve("child")
    assert (builtin.version, builtin.builtin, builtin.published_at) == (1, True, None)
    assert store.publish("child", make(2)).version == 2
    assert store.resolve("child").version == 2
    assert store.resolve("child@1") == builtin
    assert store.rollback("child") == builtin
    assert store.resolve("child") == builtin
    assert store.activate("child", 2).version == 2


def test_publishing_a_builtins_own_bytes_activates_it(store, make):
    assert store.publish("child", make(100)).builtin
    assert [version.version for version in store.versions("child")] == [1]
    store.publish("child", make(2))
    assert store.publish("child", make(100)).version == 1
    assert store.resolve("child").builtin


def test_a_builtin_is_never_removed_nor_written(store, make, builtin):
    before = {path: path.read_bytes() for path in builtin.rglob("*") if path.is_file()}
    store.publish("child", make(2))
    store.rollback("child")
    with pytest.raises(StoreError, match="child@1 is built in and cannot be removed"):
        store.remove("child", 1)
    assert [version.version for version in store.remove("child")] == [2]
    with pytest.raises(StoreError, match="scottish@1 is built in and cannot be removed"):
        store.remove("scottish")
    assert {path: path.read_bytes() for path in builtin.rglob("*") if path.is_file()} == before


def test_a_builtin_that_comes_later_hides_no_published_version(tmp_path, builtin, make):
    root = tmp_path / "root"
    mine = AdapterStore(root, tmp_path / "none").publish("child", make(1))
    upgraded = AdapterStore(root, builtin)
    assert upgraded.resolve("child") == mine
    assert upgraded.resolve("child@1") == mine


def test_a_builtin_that_went_is_said_not_replaced(tmp_path, builtin, make, caplog):
    root = tmp_path / "root"
    AdapterStore(root, builtin).publish("child", make(2))
    AdapterStore(root, builtin).rollback("child")
    without = AdapterStore(root, tmp_path / "none")
    with pytest.raises(
        StoreError, match=r"built-in 1, which this installation has not; activate one of \[2\]"
    ):
        without.resolve("child")
    assert without.list() == []
    assert "built-in 1" in caplog.text
    assert without.activate("child", 2).version == 2
    assert without.resolve("child").version == 2


def test_removing_keeps_the_active_version_unless_its_number_is_given(store, make):
    for seed in (1, 2, 3):
        store.publish("ward", make(seed))
    store.activate("ward", 2)
    assert [version.version for version in store.remove("ward")] == [1, 3]
    assert [version.version for version in store.versions("ward")] == [2]
    with pytest.raises(StoreError, match="ward@2 is active and the only version; name its number"):
        store.remove("ward")
    assert store.resolve("ward").version == 2
    store.remove("ward", 2)
    with pytest.raises(UnknownDomainError):
        store.resolve("ward")
    assert "ward" not in [domain.name for domain in store.list()]


def test_removing_the_active_version_gives_way_to_the_one_before(store, make):
    for seed in (1, 2, 3):
        store.publish("ward", make(seed))
    store.activate("ward", 1)
    store.remove("ward", 1)
    assert store.resolve("ward").version == 3
    store.remove("ward", 3)
    assert store.resolve("ward").version == 2


def test_removing_the_last_published_version_leaves_the_builtin(store, make):
    store.publish("child", make(2))
    store.remove("child", 2)
    assert store.resolve("child").builtin


def test_a_removed_number_is_never_given_again(store, make):
    store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.remove("ward", 2)
    store.remove("ward", 1)
    assert store.publish("ward", make(3)).version == 3
    with pytest.raises(UnknownDomainError, match=r"no versions 2; it has 3 \(sha256:"):
        store.resolve("ward@2")


def test_removing_takes_the_file_when_no_name_needs_it(store, make):
    kept, gone = store.publish("ward", make(1)), store.publish("ward", make(2))
    store.remove("ward", 2)
    assert not gone.path.exists()
    assert kept.path.exists()


def test_the_list_has_every_domain_by_name(store, make):
    store.publish("ward", make(1))
    store.publish("child", make(2))
    domains = {domain.name: domain for domain in store.list()}
    assert list(domains) == ["child", "scottish", "ward"]
    assert domains["child"].active.version == 2
    assert [version.version for version in domains["child"].versions] == [1, 2]
    assert domains["scottish"].active.builtin


def test_history_says_what_was_done(store, make):
    store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.rollback("ward")
    store.activate("ward", 2)
    store.remove("ward", 1)
    events = [(event.action, event.version) for event in store.get("ward").events]
    assert events == [("publish", 1), ("publish", 2), ("rollback", 1), ("activate", 2), ("remove", 1)]


def test_another_store_on_the_same_root_sees_a_publish_at_once(store, make, builtin):
    running = AdapterStore(store.root, builtin)
    assert running.resolve("child").version == 1
    published = store.publish("child", make(2))
    assert running.resolve("child") == published
    store.rollback("child")
    assert running.resolve("child").version == 1


def test_a_check_that_refuses_leaves_nothing(store, make):
    before = store.publish("ward", make(1))
    seen = []

    def refuse(path):
        seen.append(path.read_bytes())
        raise AdapterError("not this one")

    with pytest.raises(AdapterError, match="not this one"):
        store.publish("ward", make(2), check=refuse)
    assert seen == [adapter_bytes(2)]
    assert store.versions("ward") == (before,)
    assert len(list((store.root / "adapters").iterdir())) == 1


def test_a_check_runs_before_anything_is_visible_and_without_the_lock(store, make, builtin):
    other = AdapterStore(store.root, builtin)

    def look(_):
        with pytest.raises(UnknownDomainError):
            other.resolve("ward")
        other.publish("clinic", make(3))  # a writer that need not wait for a check of minutes

    store.publish("ward", make(1), check=look)
    assert store.resolve("ward").version == 1
    assert store.resolve("clinic").version == 1


def test_a_copy_changed_by_its_check_is_refused(store, make):
    def meddle(path):
        path.chmod(0o644)
        path.write_bytes(adapter_bytes(9))

    with pytest.raises(StoreError, match="changed while it was checked"):
        store.publish("ward", make(1), check=meddle)
    with pytest.raises(UnknownDomainError):
        store.resolve("ward")


def test_a_file_that_is_no_adapter_is_refused(store, tmp_path):
    wrong = tmp_path / "wrong.safetensors"
    for content in (b"", b"hello", b"\x80\x04pickle", adapter_bytes(1)[:-1], adapter_bytes(1) + b"x"):
        wrong.write_bytes(content)
        with pytest.raises((AdapterError, StoreError)):
            store.publish("ward", wrong)
    with pytest.raises(StoreError, match=r"missing\.safetensors cannot be read: No such file"):
        store.publish("ward", tmp_path / "missing.safetensors")
    with pytest.raises(StoreError, match="not a regular file"):
        store.publish("ward", tmp_path)
    assert "ward" not in [domain.name for domain in store.list()]


def test_the_root_is_the_environments_or_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("SSVD_STORE", str(tmp_path / "chosen"))
    assert AdapterStore().root == tmp_path / "chosen"
    monkeypatch.delenv("SSVD_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_place() == tmp_path / "data" / "ssvd-asr" / "store"


@pytest.mark.parametrize("place", ["a-folder", "s3://bucket/prefix", "hf://owner/repository"])
def test_the_store_loads_no_torch(place):
    code = (
        "import sys, adapters_store.store, adapters_store.commands\n"
        f"adapters_store.store.AdapterStore({place!r})\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_an_index_is_in_the_format_that_earlier_servers_read_until_it_cannot_be(store, make):
    path = store.root / "domains" / "ward.json"

    def written() -> dict:
        return json.loads(path.read_bytes())

    store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.rollback("ward")
    assert (written()["format"], "pinned" in written()) == (1, False)
    earlier = path.read_bytes()
    store.pin("ward", 2)
    assert (written()["format"], written()["pinned"]) == (2, [2])
    path.write_bytes(earlier)
    assert store.publish("ward", make(3), activate=False).version == 3
    assert written()["format"] == 2
    assert store.resolve("ward").version == 1


def test_a_domain_that_comes_with_an_upgrade_is_not_hidden_by_an_alias(store, make):
    store.publish("ward", make(1))
    store.set_alias("carib", "ward")
    assert store.resolve("carib").name == "ward"
    write_builtin(store.builtin, "carib", make(5))
    assert store.resolve("carib").builtin
    assert store.meaning("carib") == "carib"


def test_a_version_that_a_domain_lacks_is_not_that_of_an_alias_with_its_name(store, make):
    for seed in (1, 2):
        store.publish("ward", make(seed))
    store.set_alias("carib", "ward")
    assert store.resolve("carib@2") == store.resolve("ward@2")
    write_builtin(store.builtin, "carib", make(5))
    pinned = store.resolve("ward@2")
    for reference in ("carib@2", f"carib@sha256:{pinned.sha256}"):
        with pytest.raises(UnknownDomainError, match="domain 'carib' has no versions"):
            store.resolve(reference)
        assert store.meaning(reference) == reference


@pytest.mark.parametrize("reference", ["ward@1", "ward@sha256:"])
def test_a_version_that_an_alias_stands_for_is_not_removed(store, make, reference):
    first = store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.publish("ward", make(3))
    store.set_alias("old", f"ward@sha256:{first.sha256[:12]}" if reference.endswith(":") else reference)
    store.set_alias("any", "ward")
    with pytest.raises(StoreRefusedError, match="alias 'old' stands for") as refused:
        store.remove("ward", 1)
    assert refused.value.code == "version_aliased"
    assert [each.version for each in store.remove("ward")] == [2]
    with pytest.raises(StoreRefusedError, match="pinned or have an alias"):
        store.remove("ward")
    store.remove_alias("old")
    assert [each.version for each in store.remove("ward")] == [1]


def test_a_damaged_list_of_aliases_is_said_and_domains_serve(store, make):
    store.publish("ward", make(1))
    (store.root / "aliases.json").write_text('{"format": 1, "aliases": {"../x": "ward"}}')
    assert store.resolve("ward").version == 1
    with pytest.raises(StoreError, match=r"aliases\.json of the store is damaged"):
        store.resolve("kids")
    with pytest.raises(StoreError, match=r"aliases\.json of the store is damaged"):
        store.set_alias("kids", "ward")
