"""A store in a bucket: as one in a folder, though nobody is locked out and the bucket may not answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from adapters_store.audit import AuditLog
from adapters_store.remote_storage import ChangedMeanwhileError, Elsewhere
from adapters_store.s3 import S3
from adapters_store.store import AdapterStore
from ssvd_asr.errors import (
    AdapterError,
    AdapterUnreadableError,
    StoreError,
    StoreRefusedError,
    StoreUnreachableError,
    UnknownDomainError,
)
from tests.adapters_store.adapter_samples import adapter_bytes
from tests.adapters_store.overtaking import overtaken_once

Open = Callable[..., AdapterStore]
NOW = Elsewhere(refresh_s=0)


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of a service like S3."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def environment(service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": service,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SSVD_CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(tmp_path: Path, service: str) -> str:
    """A new bucket."""
    name = f"b-{abs(hash(tmp_path)) % 10**12}"
    boto3.client("s3", endpoint_url=service).create_bucket(Bucket=name)
    return name


@pytest.fixture
def open_(bucket: str, builtin: Path, tmp_path: Path) -> Open:
    """open_() -> the store in the bucket, as another process would open it."""

    def opened(elsewhere: Elsewhere = NOW) -> AdapterStore:
        audit = AuditLog(tmp_path / "audit.jsonl")
        return AdapterStore(f"s3://{bucket}/some/prefix", builtin, elsewhere, audit)

    return opened


def test_it_does_what_a_store_in_a_folder_does(open_: Open, make: Callable[[int], Path]) -> None:
    store = open_()
    assert [domain.name for domain in store.list()] == ["child", "scottish"]  # built in
    assert store.publish("ward", make(1)).version == 1
    assert store.publish("ward", make(2)).version == 2
    assert store.publish("ward", make(1)).version == 1  # the same bytes
    assert store.publish("child", make(3), activate=False).version == 2
    other = open_()
    assert other.resolve("ward").read_bytes() == adapter_bytes(1)
    assert other.resolve("ward@2").metadata.training["seed"] == 2
    assert other.rollback("ward").version == 2
    assert store.resolve("ward").version == 2
    other.set_alias("station", "ward@1")
    assert store.resolve("station").version == 1
    store.pin("ward", 1)
    with pytest.raises(StoreRefusedError, match="pinned"):
        other.remove("ward", 1)
    store.pin("ward", 1, pinned=False)
    with pytest.raises(StoreRefusedError, match="station"):
        store.remove("ward", 1)
    other.remove_alias("station")
    assert [each.version for each in other.remove("ward")] == [1]
    with pytest.raises(UnknownDomainError):
        store.resolve("ward@1")
    assert [event.action for event in store.get("ward").events][-4:] == ["rollback", "pin", "unpin", "remove"]


def test_writers_who_do_not_know_of_each_other_lose_nothing(open_: Open, make: Callable[[int], Path]) -> None:
    files = [make(seed) for seed in range(8)]
    stores = [open_() for _ in files]
    with ThreadPoolExecutor(len(files)) as pool:
        numbers = list(
            pool.map(lambda pair: pair[0].publish("ward", pair[1]).version, zip(stores, files, strict=True))
        )
    assert sorted(numbers) == list(range(1, 9))
    found = open_().versions("ward")
    assert {each.read_bytes() for each in found} == {adapter_bytes(seed) for seed in range(8)}


def test_a_change_made_on_what_is_old_is_made_again_on_what_is_new(
    open_: Open, make: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_(), open_()
    store.publish("ward", make(1))
    overtaken_once(monkeypatch, S3, lambda: other.publish("ward", make(2)))
    assert store.publish("ward", make(3)).version == 3
    assert [each.version for each in open_().versions("ward")] == [1, 2, 3]


def test_a_service_that_ignores_conditions_is_not_written_to(
    open_: Open, make: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = S3._put
    monkeypatch.setattr(S3, "_put", lambda self, path, data, **_: put(self, path, data))
    with pytest.raises(StoreError, match="ignores If-Match"):
        open_().publish("ward", make(1))
    assert [domain.name for domain in open_().list()] == ["child", "scottish"]


def test_a_crash_before_the_index_leaves_the_old_state(
    open_: Open, make: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_()
    store.publish("ward", make(1))
    with monkeypatch.context() as patched:
        patched.setattr(S3, "put", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.publish("ward", make(2))
    assert open_().resolve("ward").version == 1
    assert store.publish("ward", make(2)).version == 2


@pytest.mark.parametrize("failure", [StoreUnreachableError, StoreError])  # silent; credentials withdrawn
def test_what_is_in_memory_is_used_while_the_bucket_does_not_answer(
    failure: type[StoreError],
    open_: Open,
    make: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = open_()
    version = store.publish("ward", make(1))
    store.resolve("ward").read_bytes()  # into the cache
    looks = []

    def unreachable(*_: object) -> None:
        looks.append(1)
        raise failure("store s3://x does not answer")

    for name in ("tags", "read", "now", "put", "fetch", "add"):
        monkeypatch.setattr(S3, name, unreachable)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert store.resolve("ward").read_bytes() == adapter_bytes(1)
    assert len(looks) == 1  # not again for every request
    assert "goes on being used" in caplog.text
    with pytest.raises(failure):
        store.rollback("ward")
    new = open_()
    for _ in range(3):
        with pytest.raises(failure):
            new.resolve("ward")
    assert len(looks) == 3
    version.path.unlink()
    with pytest.raises(AdapterUnreadableError):
        store.resolve("ward").read_bytes()


def test_a_damaged_copy_on_this_machine_is_fetched_again(open_: Open, make: Callable[[int], Path]) -> None:
    store = open_()
    version = store.publish("ward", make(1))
    version.path.chmod(0o600)
    version.path.write_bytes(bytes(version.size_bytes))  # as a power cut leaves it
    assert store.resolve("ward").read_bytes() == adapter_bytes(1)
    assert store.resolve("ward").metadata.training["seed"] == 1


def test_a_bucket_at_no_address_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, builtin: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreUnreachableError, match="does not answer"):
        AdapterStore("s3://bucket/x", builtin).resolve("child")


def test_a_missing_bucket_is_no_empty_store(builtin: Path, make: Callable[[int], Path]) -> None:
    store = AdapterStore("s3://never-made/x", builtin)
    with pytest.raises(StoreError, match="no bucket 'never-made'"):
        store.list()
    with pytest.raises(StoreError):
        store.publish("ward", make(1))


def test_a_short_copy_of_the_indexes_spares_requests(
    open_: Open, make: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = open_(Elsewhere(refresh_s=3600)), open_()
    writer.publish("ward", make(1))
    assert reader.resolve("ward").version == 1
    asked: list[str] = []
    tags = S3.tags
    monkeypatch.setattr(S3, "tags", lambda self, folder: asked.append(folder) or tags(self, folder))
    for _ in range(20):
        reader.resolve("ward")
    assert asked == []
    writer.publish("ward", make(2))
    assert reader.resolve("ward").version == 1  # as old as refresh_s allows
    assert reader.rollback("ward").version == 1  # a change sees what is there
    assert reader.resolve("ward").version == 1
    assert open_().resolve("ward").version == 1


def test_an_index_is_read_again_only_if_it_changed(
    open_: Open, make: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_()
    for name in ("ward", "station"):
        store.publish(name, make(1))
    read: list[str] = []
    whole = S3.read

    def noted(self: S3, paths: Iterator[str]) -> dict[str, bytes]:
        wanted = list(paths)
        read.extend(wanted)
        return whole(self, wanted)

    reader = open_()
    reader.resolve("ward")
    monkeypatch.setattr(S3, "read", noted)
    store.publish("station", make(2))
    assert reader.resolve("station").version == 2
    assert read == ["domains/station.json"]


def test_damage_in_the_bucket_is_found(
    open_: Open, bucket: str, service: str, make: Callable[[int], Path], tmp_path: Path
) -> None:
    store = open_()
    version = store.publish("ward", make(1))
    other = store.publish("station", make(2))
    bare = boto3.client("s3", endpoint_url=service)
    key = f"some/prefix/adapters/{version.sha256}.safetensors"
    for path in (tmp_path / "cache/adapters").iterdir():
        path.unlink()
    bare.put_object(Bucket=bucket, Key=key, Body=b"x" * version.size_bytes)
    with pytest.raises(AdapterError, match="sha256"):
        store.resolve("ward").read_bytes()
    bare.put_object(Bucket=bucket, Key=key, Body=b"short")
    with pytest.raises(AdapterError, match="5 bytes"):
        store.resolve("ward").read_bytes()
    bare.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(AdapterError, match="gone"):
        store.resolve("ward").read_bytes()
    assert other.read_bytes() == adapter_bytes(2)
    bare.put_object(Bucket=bucket, Key="some/prefix/domains/ward.json", Body=b"{")
    bare.put_object(Bucket=bucket, Key="some/prefix/domains/Not a name.json", Body=b"{}")
    with pytest.raises(StoreError, match="damaged"):
        store.get("ward")
    assert [domain.name for domain in store.list()] == ["child", "scottish", "station"]


def test_the_cache_is_bounded(
    open_: Open, make: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters_store.file_cache._IN_USE_S", 0.0)
    store = open_(Elsewhere(0, cache_max_bytes=2000))  # two files
    versions = [store.publish("ward", make(seed)) for seed in range(4)]
    for version in (*versions, *versions):
        version.read_bytes()
        kept = list((tmp_path / "cache/adapters").iterdir())
        assert sum(path.stat().st_size for path in kept) <= 2000
        assert version.path in kept


def test_every_change_is_logged_before_it_is_visible(
    open_: Open, make: Callable[[int], Path], tmp_path: Path
) -> None:
    store = open_()
    store.publish("ward", make(1))
    store.set_alias("station", "ward")
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines] == ["domain.publish", "alias.set"]


def test_urls_of_other_kinds_are_refused(builtin: Path) -> None:
    for url, told in [("gs://b/x", "gs://"), ("s3://", "a bucket is wanted"), ("hf://x", "owner/repository")]:
        with pytest.raises(StoreError, match=told):
            AdapterStore(url, builtin)


def test_a_condition_is_one(bucket: str) -> None:
    files = S3(f"s3://{bucket}")
    tag = files.put("a", b"1", None)
    with pytest.raises(ChangedMeanwhileError):
        files.put("a", b"2", None)
    assert files.put("a", b"2", tag) != tag
    with pytest.raises(ChangedMeanwhileError):
        files.put("a", b"3", tag)
    assert files.now("a") == (files.tags("")["a"], b"2")
    assert files.now("b") is None
