"""A folder that is watched: whole files are published once, bad ones are told once, rollbacks stay."""

from __future__ import annotations

import errno
import logging
import os
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from server.watched_folder import WatchedFolder
from ssvd_asr.errors import StoreError
from tests.server.fakes import TIMEOUT_S, FakeRecogniser, wait_until, write_adapter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def watched(folder: Path, engine: Engine) -> WatchedFolder:
    """Not started: a test looks itself."""
    return WatchedFolder(folder, engine)


def looks(watched: WatchedFolder, many: int = 2) -> None:
    for _ in range(many):
        watched.look()


def test_a_file_is_published_under_its_name_once_it_is_whole(
    watched: WatchedFolder, folder: Path, store: AdapterStore, tmp_path: Path
) -> None:
    data = write_adapter(tmp_path / "new", 7).read_bytes()
    path = folder / "child.safetensors"
    path.write_bytes(data[:100])
    watched.look()
    path.write_bytes(data)  # it is still growing
    watched.look()
    assert store.resolve("child").version == 2
    watched.look()
    assert store.resolve("child").read_bytes() == data
    assert [each.action for each in store.get("child").events].count("publish") == 3
    assert "watched folder" in store.audit.path.read_text().splitlines()[-1]


def test_a_rollback_outlives_the_file_and_a_new_start(
    watched: WatchedFolder, folder: Path, store: AdapterStore, engine: Engine
) -> None:
    write_adapter(folder / "child.safetensors", 7)
    looks(watched)
    store.rollback("child")
    looks(watched)
    looks(WatchedFolder(folder, engine))
    assert store.resolve("child").version == 2
    write_adapter(folder / "child.safetensors", 8)  # but other bytes are another version
    looks(watched)
    assert store.resolve("child").version == 4


def test_a_bad_file_is_told_once_and_left(
    watched: WatchedFolder, folder: Path, store: AdapterStore, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "ward.safetensors").write_bytes(b"no adapter" * 100)
    (folder / "Bad Name.safetensors").write_bytes(b"x")
    (folder / ".child.safetensors").write_bytes(b"hidden")
    (folder / "notes.txt").write_bytes(b"x")
    (folder / "link.safetensors").symlink_to("/etc/passwd")
    write_adapter(folder / "good.safetensors", 9)
    with caplog.at_level(logging.ERROR, "server.watched_folder"):
        looks(watched, 5)
    told = [each.getMessage() for each in caplog.records]
    assert len(told) == 2
    assert "'Bad Name' is no name" in told[0]
    assert "ward.safetensors is not published" in told[1]
    assert (folder / "ward.safetensors").exists()
    assert [each.name for each in store.list()] == ["child", "good", "scottish"]


def test_a_file_is_tried_again_while_the_server_is_busy(
    watched: WatchedFolder, folder: Path, store: AdapterStore, engine: Engine, busy: FakeRecogniser
) -> None:
    write_adapter(folder / "ward.safetensors", 7)
    engine.request_timeout_s = 0.01
    looks(watched)
    assert "ward" not in [each.name for each in store.list()]
    engine.request_timeout_s = TIMEOUT_S
    busy.go.set()
    watched.look()
    assert store.resolve("ward").version == 1


def test_a_file_that_a_full_disk_kept_out_is_told_once_and_published_later(
    watched: WatchedFolder,
    folder: Path,
    store: AdapterStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_adapter(folder / "ward.safetensors", 7)
    with monkeypatch.context() as patched:
        patched.setattr("adapters_store.disk._write_all", full)
        looks(watched, 4)
    assert caplog.text.count("No space left") == 1
    watched.look()
    assert store.resolve("ward").version == 1


def test_a_file_is_looked_at_again_when_it_becomes_readable(
    watched: WatchedFolder, folder: Path, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_adapter(folder / "ward.safetensors", 7)

    def denied(*_: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr("server.watched_folder.hash_of", denied)
        looks(watched)
    path.chmod(0o604)
    looks(watched)
    assert store.resolve("ward").version == 1


def test_a_folder_that_is_a_link_is_watched_and_one_that_fails_is_told_once(
    tmp_path: Path,
    engine: Engine,
    folder: Path,
    store: AdapterStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    write_adapter(folder / "ward.safetensors", 7)
    looks(WatchedFolder(link, engine))
    assert store.resolve("ward").version == 1

    def fails(_: Path) -> None:
        raise StoreError("it cannot be read")

    monkeypatch.setattr("server.watched_folder.files_in", fails)
    watched = WatchedFolder(link, engine, look_s=0.001)
    watched.start()
    time.sleep(0.1)
    watched.close()
    assert caplog.text.count("(SSVD_WATCH) cannot be looked at") == 1
    assert "Traceback" not in caplog.text


def test_a_missing_folder_is_waited_for(
    tmp_path: Path, engine: Engine, store: AdapterStore, caplog: pytest.LogCaptureFixture
) -> None:
    watched = WatchedFolder(tmp_path / "later", engine)
    looks(watched)
    assert caplog.text.count("no folder") == 1
    (tmp_path / "later").mkdir()
    write_adapter(tmp_path / "later/ward.safetensors", 7)
    looks(watched)
    assert store.resolve("ward").version == 1


def test_the_server_watches_the_folder_of_the_setting(
    folder: Path, settings: ServerSettings, engine: Engine, store: AdapterStore
) -> None:
    write_adapter(folder / "part", 7)
    with TestClient(create_app(settings.model_copy(update={"watch": folder}), engine)):
        os.rename(folder / "part", folder / "ward.safetensors")
        wait_until(lambda: "ward" in [each.name for each in store.list()])
