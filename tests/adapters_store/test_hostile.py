"""Names, links and bytes that are not what they should be."""

import errno
import json
import os

import pytest

from adapters_store.names import parse_reference
from adapters_store.store import AdapterStore
from ssvd_asr.errors import AdapterError, AdapterUnreadableError, StoreError, UnknownDomainError
from tests.adapters_store.adapter_samples import adapter_bytes

BAD_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "child\0",
    "child\n",
    " child",
    "Child",
    "-child",
    ".child",
    "_child",
    "ch ild",
    "chíld",
    "c" * 65,
    "child%2f..",
    "~root",
    "child@",
    "@1",
]
BAD_REFERENCES = [
    "child@0",
    "child@-1",
    "child@01",
    "child@1.0",
    "child@latest",
    "child@9999999999999",
    "child@sha256:",
    "child@sha256:0123456789a",
    "child@sha256:" + "0" * 65,
    "child@sha256:ABCDEFABCDEF",
    "child@sha256:../../../../x",
    "child@md5:0123456789abcdef",
    "child@1@1",
    "child@١",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_and_touches_nothing(tmp_path, store, make, name):
    before = sorted(tmp_path.rglob("*"))
    file = make(1)
    with pytest.raises(StoreError):
        store.publish(name, file)
    with pytest.raises(UnknownDomainError):
        store.resolve(name)
    for change in (lambda: store.remove(name), lambda: store.rollback(name), lambda: store.activate(name, 1)):
        with pytest.raises(UnknownDomainError):
            change()
    assert sorted(path for path in tmp_path.rglob("*") if path != file) == before


@pytest.mark.parametrize("name", ["a", "0", "child", "a.b", "a-b_c", "a..b", "c" * 64, "x.json", "index"])
def test_a_good_name_is_taken(store, make, name):
    published = store.publish(name, make(1))
    assert published.name == name
    assert store.resolve(name) == published
    assert name in [domain.name for domain in store.list()]


@pytest.mark.parametrize("reference", BAD_REFERENCES)
def test_a_bad_pin_is_unknown(store, reference):
    with pytest.raises(UnknownDomainError):
        store.resolve(reference)


def test_a_long_reference_is_not_echoed_whole():
    with pytest.raises(UnknownDomainError) as refusal:
        parse_reference("x" * 100_000)
    assert len(str(refusal.value)) < 400


def test_a_pin_where_a_name_is_wanted_is_said(store):
    with pytest.raises(StoreError, match="the name 'child' alone"):
        store.rollback("child@1")


def test_a_digest_of_another_domain_is_unknown(store, make):
    mine = store.publish("ward", make(1))
    with pytest.raises(UnknownDomainError):
        store.resolve(f"child@sha256:{mine.sha256}")


@pytest.mark.parametrize("change", ["flip", "cut", "append", "empty", "gone", "folder"])
def test_a_file_that_changed_on_disk_is_not_served(store, make, change):
    version = store.publish("ward", make(1))
    version.path.chmod(0o644)
    data = bytearray(version.path.read_bytes())
    data[-1] ^= 1
    version.path.unlink()
    if change == "folder":
        version.path.mkdir()
    elif change != "gone":
        content = {"flip": data, "cut": data[:-1], "append": data + b"x", "empty": b""}[change]
        version.path.write_bytes(content)
    with pytest.raises(AdapterError, match="ward@1: its file"):
        store.resolve("ward").read_bytes()
    with pytest.raises(AdapterError, match="ward@1: its file"):
        _ = store.resolve("ward").metadata


def test_publishing_again_heals_a_damaged_file(store, make):
    version = store.publish("ward", make(1))
    version.path.chmod(0o644)
    version.path.write_bytes(b"rot")
    assert store.publish("ward", make(1)).read_bytes() == adapter_bytes(1)


@pytest.mark.parametrize(
    ("number", "passing"), [(errno.EIO, True), (errno.EMFILE, True), (errno.EACCES, False)]
)
def test_a_disk_that_fails_is_told_from_a_file_that_is_wrong(store, make, monkeypatch, number, passing):
    version = store.publish("ward", make(1))

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("adapters_store.versions.read_file", fail)
    with pytest.raises(
        AdapterError, match="ward@1: its file cannot be read: .*" + os.strerror(number)
    ) as told:
        version.read_bytes()
    assert isinstance(told.value, AdapterUnreadableError) == passing


def test_a_linked_adapter_is_not_followed(store, make, tmp_path):
    version = store.publish("ward", make(1))
    elsewhere = tmp_path / "elsewhere.safetensors"
    version.path.rename(elsewhere)
    version.path.symlink_to(elsewhere)
    with pytest.raises(AdapterError, match="cannot be read"):
        store.resolve("ward").read_bytes()


def test_a_linked_index_is_not_followed_and_its_files_are_kept(store, make, tmp_path):
    version = store.publish("ward", make(1))
    index = store.root / "domains" / "ward.json"
    index.rename(tmp_path / "ward.json")
    index.symlink_to(tmp_path / "ward.json")
    with pytest.raises(UnknownDomainError):
        store.resolve("ward")
    store.publish("clinic", make(2))
    assert version.path.exists()


@pytest.mark.parametrize("folder", ["domains", "adapters"])
def test_a_linked_folder_is_refused(store, make, tmp_path, folder):
    store.publish("ward", make(1))
    (store.root / folder).rename(tmp_path / "moved")
    (store.root / folder).symlink_to(tmp_path / "moved")
    with pytest.raises(StoreError, match="links are not followed"):
        store.publish("ward", make(2))


def test_a_pipe_in_place_of_an_index_does_not_hang(store, make):
    store.publish("ward", make(1))
    index = store.root / "domains" / "ward.json"
    index.unlink()
    os.mkfifo(index)
    with pytest.raises(UnknownDomainError):
        store.resolve("ward")


def test_a_pipe_as_the_source_does_not_hang(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="not a regular file"):
        store.publish("ward", tmp_path / "pipe")


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"{",
        lambda _: b"\xff\xfe",
        lambda index: json.dumps(index | {"format": 3}).encode(),
        lambda index: json.dumps(index | {"name": "other"}).encode(),
        lambda index: json.dumps(index | {"active": 7}).encode(),
        lambda index: json.dumps(index | {"active": "1"}).encode(),
        lambda index: json.dumps(index | {"next_version": 1}).encode(),
        lambda index: json.dumps(index | {"extra": 1}).encode(),
        lambda index: json.dumps(index | {"versions": index["versions"] * 2}).encode(),
        lambda index: json.dumps(
            index | {"versions": [index["versions"][0] | {"sha256": "../../../etc/passwd"}]}
        ).encode(),
        lambda index: json.dumps(index | {"previous": [5]}).encode(),
    ],
)
def test_a_damaged_index_is_said_and_the_rest_serve(store, make, caplog, damage):
    version = store.publish("ward", make(1))
    path = store.root / "domains" / "ward.json"
    path.write_bytes(damage(json.loads(path.read_bytes())))
    with pytest.raises(StoreError, match="index of domain 'ward' is damaged"):
        store.resolve("ward")
    with pytest.raises(StoreError, match="index of domain 'ward' is damaged"):
        store.publish("ward", make(2))
    assert [domain.name for domain in store.list()] == ["child", "scottish"]
    assert "index of domain 'ward' is damaged" in caplog.text
    assert store.publish("clinic", make(3)).version == 1
    assert version.path.exists()  # what a damaged index names is not swept


def test_a_damaged_builtin_index_is_said(store, builtin):
    (builtin / "child" / "index.json").write_text("{}")
    with pytest.raises(StoreError, match="built-in domain 'child'"):
        store.resolve("child")


def test_a_root_that_cannot_be_written_says_its_setting(make, builtin, tmp_path):
    (tmp_path / "file").write_text("")
    store = AdapterStore(tmp_path / "file" / "root", builtin)
    with pytest.raises(StoreError, match="SSVD_STORE"):
        store.publish("ward", make(1))
    with pytest.raises(StoreError, match="cannot be read: Not a directory"):  # not silently the built-ins
        store.resolve("child")


def test_a_held_lock_ends_in_a_sentence(store, make, monkeypatch):
    import filelock

    import adapters_store.storage

    store.publish("ward", make(1))
    monkeypatch.setattr(adapters_store.storage, "LOCK_TIMEOUT_S", 0.05)
    with (
        filelock.FileLock(store.root / ".lock"),
        pytest.raises(StoreError, match=r"locked by another .* 0\.05 s"),
    ):
        store.rollback("ward")


def test_files_of_the_store_can_be_read_by_others_and_adapters_not_written(store, make):
    version = store.publish("ward", make(1))
    assert version.path.stat().st_mode & 0o777 == 0o444
    assert (store.root / "domains" / "ward.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{broken", "all of it: Invalid JSON"),
        (b"\xff", "all of it: Invalid JSON"),
        (b"[]", "all of it: Input should be an object"),
        (b'{"aliases": {"kids": 1}}', "aliases.kids: Input should be a valid string"),
        (b'{"aliases": {"Kids": "child"}}', "'Kids' is no name"),
        (b'{"aliases": {"kids": "child@0"}}', "'kids' stands for 'child@0', which is no reference"),
        (b'{"format": 2, "aliases": {}}', "format: Input should be 1"),
    ],
)
def test_damaged_aliases_are_told_in_a_line_and_the_rest_goes_on(store, make, content, told, caplog):
    store.publish("ward", make(1))
    (store.root / "aliases.json").write_bytes(content)
    for change in (
        lambda: store.aliases(),
        lambda: store.resolve("kids"),
        lambda: store.set_alias("old", "child"),
        lambda: store.remove_alias("kids"),
        lambda: store.remove("ward", 1),  # an alias may stand for it
        lambda: store.publish("new", make(2)),
    ):
        with pytest.raises(StoreError, match=r"^aliases\.json of the store is damaged: [^\n]*$") as refused:
            change()
        assert told in str(refused.value)
    assert store.list_aliases() == {}
    assert told in caplog.text
    assert [domain.name for domain in store.list()] == ["child", "scottish", "ward"]
    assert store.publish("ward", make(2)).version == 2
    assert store.rollback("ward").version == 1
    assert store.pin("ward", 1).version == 1
