"""`ssvd adapters --server` says what the same command says of the store itself, and does the same to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters_store.commands import main
from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.start import engine_over
from server.settings import ServerSettings
from tests.server.fakes import FakeRecogniser, write_adapter
from tests.server.keys.making import make_key
from tests.server.live import listening

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, AdapterStore]]:
    """A running server's address, and its store with one domain of two versions."""
    folder = tmp_path_factory.mktemp("served")
    store = AdapterStore(folder / "store", builtin=folder / "builtin")
    for seed in (1, 2):
        store.publish("child", write_adapter(folder / "child", seed, wer_after=seed / 10))
    keys = folder / "keys.json"
    secret = make_key(keys, "ops", scope="admin")
    settings = ServerSettings(store=store.where, ui=False, preload=False, keys=keys)
    engine = engine_over(FakeRecogniser(), settings, store)
    with listening(create_app(settings, engine)) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSVD_KEY", secret)
        yield url, store
    engine.close(timeout_s=5)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, served: tuple[str, AdapterStore]
) -> Run:
    """run("list", ...) -> (status, stdout, stderr), with the server's built-ins."""
    builtin = served[1].builtin
    monkeypatch.setattr("adapters_store.commands.AdapterStore", lambda place: AdapterStore(place, builtin))

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([*map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def test_reports_are_those_of_the_store(served: tuple[str, AdapterStore], run: Run) -> None:
    url, store = served
    for arguments in (["list"], ["show", "child"], ["show", "child@1"], ["diff", "child", 1, 2]):
        here = run(*arguments, "--store", store.where)
        there = run(*arguments, "--server", url)
        assert here == there
        assert here[0] == 0
        mine, its = (
            json.loads(run(*arguments, *where, "--json")[1])
            for where in (("--store", store.where), ("--server", url))
        )
        assert {**its, "store": None} == {**mine, "store": None}


def test_an_alias_is_shown_and_downloaded_as_what_it_stands_for(
    served: tuple[str, AdapterStore], run: Run, tmp_path: Path
) -> None:
    url, store = served
    store.set_alias("kids", "child")
    store.set_alias("first", "child@1")
    for number, arguments in enumerate(
        (["show", "kids"], ["show", "first"], ["show", "kids@1"], ["download", "first"], ["download", "kids"])
    ):
        if arguments[0] == "download":
            arguments += ["--out", str(tmp_path / f"{number}")]
        here = run(*arguments, "--store", store.where)
        (tmp_path / f"{number}").unlink(missing_ok=True)
        assert run(*arguments, "--server", url) == here
        assert here[0] == 0
    assert (tmp_path / "3").read_bytes() == store.resolve("child@1").read_bytes()
    for alias in ("kids", "first"):
        store.remove_alias(alias)


def test_changes_are_made_by_the_server(served: tuple[str, AdapterStore], run: Run, tmp_path: Path) -> None:
    url, store = served
    file = write_adapter(tmp_path / "ward.safetensors", 9)

    def told(*arguments: object) -> str:
        status, output, error = run(*arguments, "--server", url)
        assert (status, error) == (0, "")
        return output

    assert told("publish", "ward", file).startswith("published ward@1 sha256:")
    other = write_adapter(tmp_path / "other", 10)
    assert told("publish", "ward", other, "--no-activate").endswith("; it is not active\n")
    assert store.resolve("ward").version == 1
    assert told("activate", "ward@2") == "ward@2 is active\n"
    assert told("rollback", "ward") == "ward@1 is active again\n"
    assert told("pin", "ward@2") == "ward@2 is pinned\n"
    assert "2!" in told("show", "ward")
    status, _, error = run("remove", "ward@2", "--server", url)
    assert (status, "pinned" in error, error.count("\n")) == (1, True, 1)
    assert told("unpin", "ward@2") == "ward@2 is no longer pinned\n"
    assert told("alias", "station", "ward@2") == "station stands for ward@2\n"
    assert "station stands for ward@2" in told("list")
    assert told("alias", "station", "--remove") == "alias station is removed\n"
    out = tmp_path / "copy"
    assert str(out) in told("download", "ward", "--out", out)
    assert out.read_bytes() == file.read_bytes()
    assert "is there already" in run("download", "ward", "--out", out, "--server", url)[2]
    assert told("remove", "ward") == "removed ward@2; ward@1 answers\n"
    assert "'ward' would be unknown" in run("remove", "ward@1", "--server", url)[2]
    assert told("remove", "ward@1", "--force") == "removed ward@1; 'ward' is unknown now\n"


def test_refusals_are_one_line(run: Run, served: tuple[str, AdapterStore], tmp_path: Path) -> None:
    url, _ = served
    for arguments, told in [
        (["show", "nobody", "--server", url], "no domain 'nobody'"),
        (["list", "--server", "http://127.0.0.1:9"], "does not answer"),
        (["list", "--server", "nonsense"], "nonsense"),
        (["list", "--server", f"{url}/elsewhere"], "there is no GET"),
        (["publish", "ward", tmp_path / "none", "--server", url], "cannot be read"),
        (["activate", "child", "--server", url], "names no version"),
        (["show", "../../healthz", "--server", url], "no domain"),
    ]:
        status, output, error = run(*arguments)
        assert (status, output, error.count("\n")) == (1, "", 1), error
        assert told in error


def test_merge_is_not_done_by_a_server(run: Run, served: tuple[str, AdapterStore], tmp_path: Path) -> None:
    for arguments in (["merge", "child", "--out", tmp_path / "x"], ["list", "--store", tmp_path]):
        with pytest.raises(SystemExit) as ended:
            run(*arguments, "--server", served[0])
        assert ended.value.code == 2


def test_the_key_is_sent(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(401, json={"error": {"message": "a key is wanted", "code": "no_key"}})

    client = httpx.Client
    monkeypatch.setattr(
        "httpx.Client", lambda **options: client(transport=httpx.MockTransport(answer), **options)
    )
    monkeypatch.delenv("SSVD_KEY")  # of `served`
    assert "a key is wanted" in run("list", "--server", "http://host")[2]
    run("list", "--server", "http://host", "--key", "first")
    monkeypatch.setenv("SSVD_KEY", "second")
    run("list", "--server", "http://host")
    assert seen == [None, "Bearer first", "Bearer second"]
