"""SIGTERM and SIGINT end a run with status 130 in every phase, and `--resume` gives the same result."""

from __future__ import annotations

import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssvd_asr import cli

SHORT = ["--epochs", "1", "--min-batches-per-epoch", "2", "--max-batches-per-epoch", "2", "--lr", "0.02"]
# The 1st call of `evaluate` decodes for the first scale, the 7th the base for the test set.
PHASES = {
    "data": ("training.loop.run.load_data", 1, False),
    "validation": ("training.loop.trainer.validate", 1, True),
    "scale": ("training.methods.finish.evaluate", 2, True),
    "test set": ("training.methods.finish.evaluate", 7, True),
    "voices": ("training.methods.finish.voice_summary", 1, True),
    "publishing": ("adapters_store.store.AdapterStore.publish", 1, True),
}


def words(base: Path, corpus: Path, out: Path, *more: str) -> list[str]:
    """`ssvd train` for two steps, as arguments; without ``more`` it publishes in a store beside ``out``."""
    data = ["--data", f"{corpus}/train.jsonl", "--valid", f"{corpus}/valid.jsonl"]
    where = ["--base", str(base), "--out", str(out), "--device", "cpu", "--accumulation", "1"]
    more = more or ("--k", "4", "--publish", "--store", str(out.parent / "store"))
    return ["train", "--domain", "tones", *data, *SHORT, *where, *more]


@pytest.fixture(scope="module")
def whole(base_folder: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The adapter of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main(words(base_folder, corpus, out)) == 0
    return (out / "adapter.safetensors").read_bytes()


def kill_in(target: str, call: int, kind: signal.Signals, patch: pytest.MonkeyPatch) -> None:
    """Send this process a signal as the ``call``-th call of a function begins; of `publish`, as it ends."""
    inner: Callable[..., Any] = pkgutil.resolve_name(target)
    calls = 0

    def outer(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        late = target.endswith("publish")
        if calls == call and not late:
            os.kill(os.getpid(), kind)
        result = inner(*arguments, **options)
        if late:
            os.kill(os.getpid(), kind)
        return result

    patch.setattr(target, outer)


@pytest.mark.parametrize(
    ("phase", "kind"),
    [*((phase, signal.SIGTERM) for phase in PHASES), ("validation", signal.SIGINT), ("scale", signal.SIGINT)],
)
def test_a_signal_in_any_phase_ends_with_130_and_resume_gives_the_same_bytes(
    base_folder: Path,
    corpus: Path,
    tmp_path: Path,
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    phase: str,
    kind: signal.Signals,
) -> None:
    out = tmp_path / "run"
    target, call, begun = PHASES[phase]
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        kill_in(target, call, kind, patch)
        assert cli.main(words(base_folder, corpus, out)) == 130
    assert handlers == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    assert (f"go on with --resume --out {out}" in capsys.readouterr().err) == begun
    assert not (out / "result.json").exists()
    assert not [path for path in out.iterdir() if path.suffix in (".tmp", ".partial")]
    assert cli.main([*words(base_folder, corpus, out), *(["--resume"] if begun else [])]) == 0
    assert (out / "adapter.safetensors").read_bytes() == whole
    assert '"published": "tones@1"' in (out / "result.json").read_text()


def test_sigterm_after_the_last_step_ends_the_command_itself(
    base_folder: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "ssvd_asr.cli", *words(base_folder, corpus, out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        log = out / "log.jsonl"
        until = time.monotonic() + 240
        while not (log.exists() and '"epoch"' in log.read_text()[-400:]):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        err = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"go on with --resume --out {out}" in err
