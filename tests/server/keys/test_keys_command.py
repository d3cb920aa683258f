"""`ssvd keys`: a key is shown once and kept as a hash; the audit log tells of a change before it holds."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from adapters_store.audit import AUDIT_VARIABLE
from server.keys.book import digest_of
from server.keys.file import KeyFile
from ssvd_asr.cli import main
from tests.server.keys.making import make_key


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSVD_KEYS", str(tmp_path / "deep" / "keys.json"))
    monkeypatch.setenv(AUDIT_VARIABLE, str(tmp_path / "audit.jsonl"))
    return tmp_path / "deep" / "keys.json"


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    assert main(["keys", *arguments]) == status
    told = capsys.readouterr()
    return told.out.strip(), told.err.strip()


def audit(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]


def test_a_key_is_shown_once_and_kept_as_a_hash(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, said = run(capsys, "add", "ward-7", "--domains", "child", "--audio-s-per-hour", "3600", "--json")
    secret = json.loads(secret)["key"]
    assert "not shown again" in said
    assert len(secret) >= 43  # 256 bits
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    kept = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert digest_of(secret) in kept
    assert secret not in kept
    shown = run(capsys, "show", "ward-7")[0] + run(capsys, "list")[0]
    assert secret not in shown
    assert digest_of(secret) not in shown
    (line,) = audit(tmp_path)
    assert (line["what"], line["key"], line["sha256_start"]) == ("key.add", "ward-7", digest_of(secret)[:8])
    assert digest_of(secret) not in json.dumps(line)


def test_a_key_that_a_full_disk_refuses_is_not_in_the_log(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "add", "ward-7")
    lines, book = audit(tmp_path), KeyFile(keys).read()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("adapters_store.disk._write_all", full)
    for action in (("add", "ci"), ("rotate", "ward-7"), ("revoke", "ward-7"), ("private", "child")):
        assert "No space left" in run(capsys, *action, status=1)[1]
    assert (audit(tmp_path), KeyFile(keys).read()) == (lines, book)


@pytest.mark.usefixtures("keys")
def test_a_domain_that_an_earlier_release_called_base_may_be_private(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, "private", "base")[0] == "private domains: base"
    run(capsys, "add", "ward-7", "--domains", "base")
    assert run(capsys, "public", "base")[0] == "private domains: none"


def test_a_script_gets_the_key_alone(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret, _ = run(capsys, "add", "ci")
    found = KeyFile(keys).read().find(secret)
    assert found is not None
    assert found.name == "ci"


def test_what_is_changed_holds_and_is_told(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = run(capsys, "add", "a", "--concurrent", "2", "--expires", "2999-01-31")
    second, _ = run(capsys, "rotate", "a")
    book = KeyFile(keys).read()
    assert book.find(first) is None
    rotated = book.find(second)
    assert rotated is not None
    assert (rotated.concurrent, f"{rotated.expires:%Y-%m-%d %H:%M}") == (2, "2999-01-31 23:59")
    assert run(capsys, "private", "child", "ward")[0] == "private domains: child, ward"
    assert run(capsys, "public", "ward")[0] == "private domains: child"
    run(capsys, "revoke", "a")
    assert KeyFile(keys).read().keys == ()
    assert KeyFile(keys).read().private == ("child",)
    told = ["key.add", "key.rotate", "domain.private", "domain.public", "key.revoke"]
    assert [line["what"] for line in audit(tmp_path)] == told


def test_nothing_changes_that_the_audit_log_cannot_hold(
    keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "add", "a")
    before = keys.read_bytes()
    monkeypatch.setenv(AUDIT_VARIABLE, str(tmp_path))  # a folder
    for arguments in (["add", "b"], ["rotate", "a"], ["revoke", "a"], ["private", "child"]):
        out, said = run(capsys, *arguments, status=1)
        assert out == ""
        assert AUDIT_VARIABLE in said
        assert len(said.splitlines()) == 1
    assert keys.read_bytes() == before


def test_a_change_that_is_cut_off_leaves_the_old_file(
    keys: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, "add", "a")
    before = keys.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full)
        _, said = run(capsys, "add", "b", status=1)
    assert "No space left" in said
    assert keys.read_bytes() == before
    assert sorted(path.name for path in keys.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_keys_that_are_made_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as threads:
        secrets = list(threads.map(lambda number: make_key(path, f"key-{number}"), range(8)))
    book = KeyFile(path).read()
    assert len(book.keys) == 8
    assert all(book.find(secret) for secret in secrets)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "a"], "called 'a' already"),
        (["add", "a b"], "must be 1 to 64 letters"),
        (["add", "b", "--domains", "Child"], "domain name 'Child'"),
        (["add", "b", "--domains", "*,child"], r"domain name '\*'"),
        (["add", "b", "--scope", "admin", "--domains", "child"], "may use every domain"),
        (["add", "b", "--concurrent", "0"], "--concurrent 0: at least 1"),
        (["add", "b", "--audio-s-per-hour", "-5"], "at least 1"),
        (["add", "b", "--expires", "tomorrow"], "'tomorrow' is no date"),
        (["add", "b", "--expires", "2027-01-31T12:00"], "no offset"),
        (["add", "b", "--expires", "9999-12-31T23:59-12:00"], "beyond the years"),
        (["add", "b", "--expires", "2020-01-31"], "--expires 2020-01-31 is past"),
        (["show", "b"], "no key is called 'b'; there are: a"),
        (["revoke", "b"], "no key is called"),
        (["rotate", "b"], "no key is called"),
        (["private", "Child"], "domain name"),
        (["public", "child"], "child is not private"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    keys: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    run(capsys, "add", "a")
    before = keys.read_bytes()
    out, said = run(capsys, *arguments, status=1)
    assert out == ""
    assert len(said.splitlines()) == 1
    assert re.search(told, said), said
    assert keys.read_bytes() == before


def test_a_private_name_that_is_no_domain_is_told(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSVD_STORE", str(tmp_path / "store"))
    run(capsys, "add", "a")
    out, said = run(capsys, "private", "chlid", "child")
    assert out == "private domains: child, chlid"
    assert "has no domain chlid yet" in said
    assert len(said.splitlines()) == 1
    monkeypatch.setenv("SSVD_STORE", "gs://nowhere")
    assert "is not known" in run(capsys, "private", "ward")[1]
    assert KeyFile(keys).read().private == ("child", "chlid", "ward")


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": [{"name": "a"}]}', b"\xff\xfe", b'{"version": 2}'])
def test_a_damaged_file_is_told_and_not_overwritten(
    keys: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    keys.parent.mkdir()
    keys.write_bytes(content)
    for arguments in (["list"], ["add", "a"]):
        _, said = run(capsys, *arguments, status=1)
        assert "SSVD_KEYS" in said
        assert len(said.splitlines()) == 1
    assert keys.read_bytes() == content
