"""Adapters to the hub and back, and a store that lies there: `ssvd adapters push`, `pull` and hf://."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from adapters_store.audit import AuditLog
from adapters_store.commands import main
from adapters_store.hub_files import HubFiles
from adapters_store.remote_storage import ChangedMeanwhileError, Elsewhere
from adapters_store.store import AdapterStore
from ssvd_asr.errors import StoreError, StoreUnreachableError
from tests.adapters_store.adapter_samples import adapter_bytes, adapter_file
from tests.adapters_store.overtaking import overtaken_once
from tests.hub_server import Hub, running
from tests.ssvd_asr.base.conftest import point_at

NOW = Elsewhere(refresh_s=0)
REPOSITORY = "clinic/child-owsm"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, which the library takes for the only one."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("SSVD_CACHE_DIR", str(tmp_path / "cache"))
    with running() as hub:
        point_at(hub.endpoint, monkeypatch)
        yield hub


@pytest.fixture
def run(store: AdapterStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(
        "adapters_store.commands.AdapterStore",
        lambda place: AdapterStore(place or store.where, store.builtin),
    )
    monkeypatch.setattr("adapters_store.actions.base_of", lambda _: None)
    monkeypatch.setattr("adapters_store.publish_check.publish_check", lambda _: None)

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([*map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


@pytest.mark.usefixtures("hub")
def test_a_pushed_adapter_is_pulled_as_it_was(
    run: Run, store: AdapterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    version = store.publish("ward", adapter_file(tmp_path, 1, domain="ward"))
    status, output, error = run("push", "ward", REPOSITORY)
    assert (status, error) == (0, "")
    assert f"ward@1 sha256:{version.sha256} is at http://" in output
    store.remove("ward", 1)
    status, _, error = run("pull", REPOSITORY, "elsewhere")
    assert (status, "--as elsewhere" in error) == (1, True)
    assert run("pull", REPOSITORY, "ward")[1].startswith("published ward@2 sha256:")
    assert store.resolve("ward").read_bytes() == version_bytes(1)


def version_bytes(seed: int) -> bytes:
    return adapter_bytes(seed, domain="ward")


def test_the_card_is_of_the_metadata(
    run: Run, hub: Hub, store: AdapterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    store.publish("ward", adapter_file(tmp_path, 1, domain="a|b`<script>"))
    run("push", "ward@1", REPOSITORY)
    (files,) = hub.repositories[REPOSITORY].commits.values()
    _, head, card = files["README.md"].decode().split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["library_name"] == "ssvd-asr"
    assert told["pipeline_tag"] == "automatic-speech-recognition"
    assert "base_model" not in told  # owsm-test is no repository of the hub
    assert "| wer_after | `0.125` |" in card
    assert "<script>" not in card
    assert f"ssvd adapters pull {REPOSITORY} ward" in card
    store.publish("ward", adapter_file(tmp_path, 2))
    assert run("push", "ward", REPOSITORY)[0] == 0  # into the same repository
    assert len(hub.repositories[REPOSITORY].commits) == 2


def test_what_the_hub_refuses_is_one_line(run: Run, hub: Hub, store: AdapterStore, tmp_path: Path) -> None:
    store.publish("ward", adapter_file(tmp_path, 1))
    hub.add("clinic/empty", _folder(tmp_path / "empty", "notes.txt"))
    for arguments, told in [
        (["push", "ward", REPOSITORY], "401"),
        (["push", "ward", "no repository"], "owner/name"),
        (["push", "nobody", REPOSITORY], "no domain"),
        (["pull", "clinic/none", "ward"], "clinic/none on the hub"),
        (["pull", "clinic/empty", "ward"], "clinic/empty on the hub"),
        (["pull", "../x", "ward"], "Repo id"),
        (["pull", "child", "ward"], "owner/name"),
    ]:
        status, output, error = run(*arguments)
        assert (status, output, error.count("\n")) == (1, "", 1), error
        assert told in error


def _folder(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / name).write_text("x")
    return folder


def test_a_store_on_the_hub_is_read(
    hub: Hub, store: AdapterStore, builtin: Path, make: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish("ward", make(1))
    store.publish("ward", make(2))
    store.set_alias("station", "ward@1")
    assert store.root is not None
    hub.add("clinic/store", store.root)
    there = AdapterStore("hf://clinic/store", builtin, NOW)
    assert there.resolve("ward").read_bytes() == adapter_bytes(2)
    assert there.resolve("station").read_bytes() == adapter_bytes(1)
    assert [domain.name for domain in there.list()] == ["child", "scottish", "ward"]
    store.rollback("ward")
    hub.add("clinic/store", store.root)
    assert there.resolve("ward").version == 1
    with pytest.raises(StoreError, match="refuses"):
        there.activate("ward", 2)  # without a token
    hub.status = 503
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # before it tries again
    assert there.resolve("ward").version == 1
    with pytest.raises(StoreUnreachableError):
        AdapterStore("hf://clinic/store", builtin).resolve("ward")


def test_a_store_on_the_hub_is_written_by_commits_that_lose_nothing(
    hub: Hub, builtin: Path, make: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    hub.add("clinic/store", _folder(tmp_path / "first", "README.md"))
    store, other = (AdapterStore("hf://clinic/store/inner", builtin, NOW) for _ in range(2))
    assert store.publish("ward", make(1)).version == 1
    overtaken_once(monkeypatch, HubFiles, lambda: other.publish("ward", make(2)))
    assert store.publish("ward", make(3)).version == 3
    assert store.set_alias("station", "ward@2").version == 2
    assert other.rollback("ward").version == 2
    again = AdapterStore("hf://clinic/store/inner", builtin, NOW)
    assert [each.read_bytes() for each in again.versions("ward")] == [
        adapter_bytes(seed) for seed in (1, 2, 3)
    ]
    assert again.resolve("ward").version == again.resolve("station").version == 2


def test_a_publish_to_a_domain_that_is_there_is_made_once(
    hub: Hub, builtin: Path, make: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    hub.add("clinic/store", _folder(tmp_path / "first", "README.md"))
    audit = AuditLog(tmp_path / "audit.jsonl")
    store = AdapterStore("hf://clinic/store", builtin, NOW, audit)
    store.publish("ward", make(1))
    tags: list[str | None] = []
    put = HubFiles.put

    def noted(self: HubFiles, path: str, data: bytes, tag: str | None) -> str:
        tags.append(tag)
        return put(self, path, data, tag)

    monkeypatch.setattr(HubFiles, "put", noted)
    assert store.publish("ward", make(2)).version == 2
    assert len(tags) == 1
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert [(line["what"], line["version"]) for line in lines] == [
        ("domain.publish", 1),
        ("domain.publish", 2),
    ]


def test_a_file_on_the_hub_is_replaced_only_while_it_has_its_tag(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    hub.add("clinic/store", _folder(tmp_path / "first", "README.md"))
    files = HubFiles("hf://clinic/store/inner")
    assert files.now("a") is None
    tag = files.put("a", b"1", None)
    files.put("b", b"1", None)  # a commit that leaves "a" as it is
    assert files.now("a") == (tag, b"1") == (files.tags("")["a"], b"1")
    with pytest.raises(ChangedMeanwhileError):
        files.put("a", b"2", None)
    assert files.put("a", b"2", tag) != tag
    with pytest.raises(ChangedMeanwhileError):
        files.put("a", b"3", tag)
    commit = HubFiles._commit

    def late(self: HubFiles, path: str, content: bytes | str, parent: str | None) -> None:
        commit(self, path, b"other", None)  # another writer, after the look
        commit(self, path, content, parent)

    monkeypatch.setattr(HubFiles, "_commit", late)
    with pytest.raises(ChangedMeanwhileError):
        files.put("a", b"4", files.tags("")["a"])
    assert files.read(["a"]) == {"a": b"other"}
