"""An OWSM-CTC and a Whisper are trained, evaluated and merged by the same code as an OWSM with a decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import pytest

from adapters_store.commands import main as adapters
from ssvd_asr.base.load import load_base
from tests.random_owsm import TINY_CTC, write_random_owsm
from tests.random_whisper import write_random_whisper
from tests.training.runs import MakeSession, events
from training.evaluate import evaluate
from training.evaluate_command import main as evaluate_command
from training.recipe import Method

MORE = {"batch_audio_s": 16.0, "epochs": 1}
WRITERS: dict[str, Callable[[Path], Path]] = {
    "owsm-ctc": partial(write_random_owsm, shape=TINY_CTC),
    "whisper": write_random_whisper,
}
SEARCHES = {"owsm-ctc": "ctc", "whisper": "checked"}  # each base's own


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write(tmp_path_factory.mktemp("base") / f"tiny-{kind}") for kind, write in WRITERS.items()}


@pytest.mark.parametrize(
    ("kind", "method"),
    [*(("whisper", method) for method in get_args(Method)), ("owsm-ctc", "lora"), ("owsm-ctc", "full")],
)
def test_other_methods_train_it(session: MakeSession, bases: dict[str, Path], kind: str, method: str) -> None:
    sized = {"k": 6} if method in ("ssvd", "lora-xs") else {"k": None}
    if method in ("lora", "dora", "vera", "pissa"):
        sized["rank"] = 4
    result = session(changes=MORE, base=str(bases[kind]), method=method, **sized).run()
    assert result["finished"]
    assert result["parameters"] > 0
    written = "adapter" if method.startswith(("ssvd", "lora-xs", "svft")) else "weights"
    assert Path(result[written]).is_file()


def test_recomputed_layers_train_to_the_same_bytes(
    session: MakeSession, bases: dict[str, Path], tmp_path: Path
) -> None:
    for out, recompute in (("kept", False), ("recomputed", True)):
        session(out, changes=MORE, base=str(bases["whisper"]), recompute=recompute).run()
    files = [tmp_path / out / "adapter.safetensors" for out in ("kept", "recomputed")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("kind", WRITERS)
def test_training_lowers_the_loss_in_windows_of_any_length(
    session: MakeSession, bases: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    changes = {"epochs": 4, "min_batches_per_epoch": 12, "max_batches_per_epoch": 12, "accumulation": 1}
    changes |= {"padding": "mixed", "lr": 1e-2, "joined_share": 0.5}
    session(changes=changes, k=None, p=0.9, base=str(bases[kind])).run()
    losses = [event["valid_loss"] for event in events(tmp_path / "run") if event["event"] == "epoch"]
    assert losses[-1] < 0.95 * losses[0]  # of clips that were not trained on, after the first epoch


@pytest.mark.parametrize("kind", WRITERS)
def test_an_adapter_scores_and_merges_by_the_commands(
    session: MakeSession,
    bases: dict[str, Path],
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    base = str(bases[kind])
    result = session(changes=MORE, base=base).run()
    asked = ["--data", str(corpus / "valid.jsonl"), "--device", "cpu", "--json"]
    assert evaluate_command([*asked, "--base", base, "--adapter", result["adapter"]]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["wer"], scored["search"]) == (result["wer_after"], SEARCHES[kind])
    out = tmp_path / "merged"
    assert adapters(["merge", result["adapter"], "--base", base, "--out", str(out)]) == 0
    merged = load_base(out, device="cpu")
    again = evaluate(merged, corpus / "valid.jsonl", progress=False)
    assert again.score.wer == result["wer_after"]
