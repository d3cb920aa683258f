"""The built wheel, not the checkout: what a user of `pip install` gets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import httpx
import pytest

from ssvd_asr.cli import COMMANDS
from tests.installs import Install

ROOT = Path(__file__).parent.parent
PACKAGES = {"ssvd_asr", "adapters_store", "training", "server", "ui"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files git would commit, so that a forgotten file is missed here too."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *arguments: str) -> str:
    """Run python away from the checkout, with the wheel's files first on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_holds_the_five_packages_and_nothing_else(installed: Path) -> None:
    found = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert found == PACKAGES


def test_every_module_of_the_checkout_is_in_the_wheel(installed: Path) -> None:
    modules = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {str(module) for module in modules if not (installed / module).is_file()} == set()


@pytest.mark.parametrize(
    "name", ["config.yaml", "tokens.txt", "bpe.model", "feats_stats.npz", "model.safetensors"]
)
def test_holds_the_embedded_base(installed: Path, name: str) -> None:
    assert (installed / "ssvd_asr" / "base" / "nano" / name).stat().st_size > 0


@pytest.mark.parametrize("domain", ["child", "scottish"])
def test_holds_the_builtin_domains_with_clips(installed: Path, domain: str) -> None:
    home = installed / "adapters_store" / "builtin" / domain
    assert (home / "adapter.safetensors").is_file()
    assert len(list((home / "samples").glob("*.opus"))) >= 140


def test_the_command_and_the_builtins_work_from_the_wheel(installed: Path) -> None:
    where = run(installed, "-c", "import ssvd_asr; print(ssvd_asr.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    store = str(installed / "store")
    script = "import sys; from ssvd_asr.cli import main; sys.exit(main(sys.argv[1:]))"
    listed = run(installed, "-c", script, "adapters", "list", "--json", "--store", store)
    assert '"child"' in listed
    assert '"scottish"' in listed


def test_the_console_script_is_declared(installed: Path) -> None:
    entry_points = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "ssvd = ssvd_asr.cli:main" in entry_points.read_text(encoding="utf-8")


CLIPS = ROOT / "adapters_store" / "builtin" / "child" / "samples"
CLIP = str(CLIPS / "child-test-000002.opus")
ARGUMENTS = {
    "serve": (),
    "ui": ("--server", "http://127.0.0.1:9"),
    "train": ("--domain", "d", "--data", "a.jsonl", "--valid", "b.jsonl"),
    "bench": ("methods",),
}


@pytest.fixture(scope="module")
def install(wheel: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Install]:
    """An install of the wheel with the extras that are named, made once."""

    @cache
    def make(*extras: str) -> Install:
        return Install(wheel, installed, tmp_path_factory.mktemp("venv"), extras)

    return make


@pytest.fixture
def few(tmp_path: Path) -> str:
    """A manifest of three clips."""
    lines = (CLIPS / "test.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    entries = [{**entry, "audio": str(CLIPS / entry["audio"])} for entry in map(json.loads, lines)]
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return str(path)


def test_the_bare_install_lists_commands_and_domains(install: Callable[..., Install]) -> None:
    status, out, err = install().run("ssvd", "--help")
    assert (status, err) == (0, "")
    assert all(name in out for name in COMMANDS)
    status, out, err = install().run("ssvd", "adapters", "list", "--json")
    assert status == 0, err
    assert {'"child"', '"scottish"'} <= set(re.findall(r'"\w+"', out))


def test_the_bare_install_transcribes_in_a_domain(install: Callable[..., Install]) -> None:
    status, out, err = install().run("ssvd", "transcribe", CLIP, "--domain", "child", "--json")
    assert status == 0, err
    found = json.loads(out)
    assert found["domain"] == "child"
    assert found["text"]


def test_the_bare_install_evaluates_and_names_the_extra_of_cut_sets(
    install: Callable[..., Install], few: str, tmp_path: Path
) -> None:
    status, out, err = install().run("ssvd", "evaluate", "--data", few, "--domain", "child", "--json")
    assert status == 0, err
    assert json.loads(out)["utterances"] == 3
    cuts = tmp_path / "cuts.jsonl"
    cuts.write_text('{"type": "MonoCut", "supervisions": []}\n')
    status, _, err = install().run("ssvd", "evaluate", "--data", str(cuts))
    assert (status, err.splitlines()[-1]) == (2, hint("evaluate", "train"))


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.extra])
def test_a_command_without_its_extra_names_it_in_one_line(
    install: Callable[..., Install], command: str
) -> None:
    extra = COMMANDS[command].extra
    assert extra is not None
    assert install().run("ssvd", command, *ARGUMENTS[command]) == (2, "", hint(command, extra) + "\n")


def hint(command: str, extra: str) -> str:
    return (
        f'ssvd {command} needs the extra "{extra}": pip install -e ".[{extra}]", in the folder of the source'
    )


def test_with_serve_the_api_answers_and_the_log_names_the_extra_of_the_page(
    install: Callable[..., Install],
) -> None:
    process = install("serve").start("ssvd", "serve", "--port", "0")
    assert process.stdout is not None
    try:
        told = ""
        while "try:" not in told:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            told += line
        found = re.search(r" at (http://127\.0\.0\.1:\d+)\n", told)
        assert found is not None
        assert "page:" not in told
        url = f"{found[1]}/v1/audio/transcriptions"
        files = {"file": ("clip.opus", Path(CLIP).read_bytes())}
        reply = httpx.post(url, files=files, data={"domain": "child"}, timeout=60)
        assert reply.status_code == 200, reply.text
        assert httpx.get(f"{found[1]}/ui/").status_code == 404
        process.terminate()
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert err.count('the extra "ui": pip install -e ".[ui]"') == 1


def test_with_serve_a_page_that_is_asked_for_is_refused(install: Callable[..., Install]) -> None:
    asked = install("serve").run("ssvd", "serve", "--port", "0", "--ui")
    assert asked == (2, "", hint("serve", "ui") + "\n")


def test_with_ui_the_page_can_be_made_and_asks_its_server(install: Callable[..., Install]) -> None:
    script = (
        "from ui.app import build; from ui.client import ServerClient; from ui.visits import Visits; "
        "build(ServerClient('http://a'), Visits())"
    )
    status, _, err = install("ui").run("python", "-c", script)
    assert status == 0, err
    status, _, err = install("ui").run("ssvd", "ui", *ARGUMENTS["ui"])
    assert status == 1
    assert "127.0.0.1:9" in err


def test_with_train_a_domain_is_trained(install: Callable[..., Install], few: str, tmp_path: Path) -> None:
    data = ("--data", few, "--valid", few, "--out", str(tmp_path / "run"), "--json", "--device", "cpu")
    short = ("--epochs", "1", "--min-batches-per-epoch", "1", "--max-batches-per-epoch", "1", "--k", "4")
    status, out, err = install("train").run("ssvd", "train", "--domain", "few", *data, *short)
    assert status == 0, err
    assert json.loads(out)["finished"]
    assert (tmp_path / "run" / "adapter.safetensors").is_file()
