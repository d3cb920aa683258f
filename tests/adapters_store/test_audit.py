"""The audit log: a line a change, whole, in order, and never without it being on the disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from adapters_store import disk
from adapters_store.audit import Actor, AuditLog
from adapters_store.store import AdapterStore
from ssvd_asr.errors import StoreError
from tests.adapters_store.adapter_samples import adapter_file, builtin_folder

OPS = Actor("ops", "192.0.2.1")


def test_lines_are_objects_that_say_who_what_and_when(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "new" / "audit.jsonl")
    log.add("domain.publish", OPS, domain="child", version=2)
    log.add("key.add", OPS, key="clinic\n")
    first, second = map(json.loads, log.path.read_text().splitlines())
    assert first == first | {"who": "ops", "where": "192.0.2.1", "what": "domain.publish", "version": 2}
    assert second["key"] == "clinic\n"
    assert first["at"] <= second["at"]
    assert log.path.stat().st_mode & 0o007 == 0


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.path.write_text('{"at": "2026')
    log.add("key.add", OPS)
    torn, whole = log.path.read_text().splitlines()
    assert torn == '{"at": "2026'
    assert json.loads(whole)["what"] == "key.add"


def test_a_line_that_is_not_written_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    with pytest.raises(StoreError, match="SSVD_AUDIT_LOG"):
        AuditLog(tmp_path / "audit.jsonl").add("key.add", OPS)


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="audit log"):
        AuditLog(tmp_path / "file" / "audit.jsonl").add("key.add", OPS)


def test_a_line_is_written_once_the_change_is_on_the_disk_and_before_it_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AdapterStore(
        tmp_path / "root", builtin_folder(tmp_path), audit=AuditLog(tmp_path / "audit.jsonl")
    )
    store.publish("child", adapter_file(tmp_path, 2))
    done: list[str] = []

    def noting(name: str, module: Any) -> None:
        call = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *arguments, **options: (done.append(name), call(*arguments, **options))[1]
        )

    noting("_write_all", disk)
    noting("replace", os)
    noting("add", AuditLog)
    store.set_alias("kids", "child")
    assert done == ["_write_all", "add", "replace"]
