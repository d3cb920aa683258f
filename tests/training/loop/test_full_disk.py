"""A full disk is told with the file that it has no room for, and with how to go on."""

from __future__ import annotations

import pkgutil
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ssvd_asr import cli
from tests.training.loop.test_interrupt import words

# What writes a file, and whether there is a checkpoint by then.
WRITERS = {
    "data-report.json": ("training.loop.data._Reports.write", False),
    "log.jsonl": ("training.loop.log.TrainingLog.position", False),
    "checkpoint.safetensors": ("training.loop.checkpoint.save_checkpoint", False),
    "tensorboard": ("torch.utils.tensorboard.writer.SummaryWriter.add_scalar", False),
    "adapter.safetensors": ("ssvd_asr.adapter.canary.seal_adapter", True),
    "store": ("adapters_store.store.AdapterStore.publish", True),
    "result.json": ("training.loop.run.Session._write_result", True),
    "peft": ("training.methods.peft.PeftMethod.save_adapters", True),
    "weights.safetensors": ("training.methods.finish.save_tensors", True),
}


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow, as on a full disk; the system tells it as a file too large."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill_disk_in(target: str, patch: pytest.MonkeyPatch) -> None:
    inner: Callable[..., Any] = pkgutil.resolve_name(target)

    def outer(*arguments: Any, **options: Any) -> Any:
        with full_disk():
            found = inner(*arguments, **options)
            if target.endswith("add_scalar"):
                arguments[0].flush()  # a thread writes
            return found

    patch.setattr(target, outer)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_with_the_file_and_resume_goes_on(
    base_folder: Path,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    writer, begun = WRITERS[name]
    out = tmp_path / "run"
    method = ["--method", "lora"] if name in ("peft", "weights.safetensors") else ["--k", "4"]
    store = ["--publish", "--store", str(tmp_path / "store")] if name == "store" else []
    asked = words(base_folder, corpus, out, *method, *store, "--scale", "1")
    with monkeypatch.context() as patch:
        fill_disk_in(writer, patch)
        assert cli.main(asked) == 1
    err = capfd.readouterr().err
    last = err.splitlines()[-1]
    assert last.startswith("ssvd train: ")
    assert str(tmp_path / name if name == "store" else out / name) in last
    assert "too large" in last
    assert (f"; go on with --resume --out {out}" in last) == begun
    assert "Traceback" not in err
    assert not [path for path in out.rglob("*") if path.suffix in (".tmp", ".partial")]
    if begun:
        assert cli.main([*asked, "--resume"]) == 0
        assert (out / "result.json").exists()
