"""A Whisper is trained, evaluated and merged by the same code as an OWSM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from adapters_store.commands import main as adapters
from ssvd_asr.base.load import load_base
from tests.random_whisper import write_random_whisper
from tests.training.runs import MakeSession, events
from training.evaluate import evaluate
from training.evaluate_command import main as evaluate_command
from training.recipe import Method

MORE = {"batch_audio_s": 16.0, "epochs": 1}


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_whisper(tmp_path_factory.mktemp("base") / "tiny-whisper")


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_trains_it(session: MakeSession, whisper: Path, method: str) -> None:
    sized = {"k": 6} if method in ("ssvd", "lora-xs") else {"k": None}
    if method in ("lora", "dora", "vera", "pissa"):
        sized["rank"] = 4
    result = session(changes=MORE, base=str(whisper), method=method, **sized).run()
    assert result["finished"]
    assert result["parameters"] > 0
    written = "adapter" if "adapter" in result else "weights"
    assert Path(result[written]).is_file()


def test_recomputed_layers_train_to_the_same_bytes(
    session: MakeSession, whisper: Path, tmp_path: Path
) -> None:
    for out, recompute in (("kept", False), ("recomputed", True)):
        session(out, changes=MORE, base=str(whisper), recompute=recompute).run()
    files = [tmp_path / out / "adapter.safetensors" for out in ("kept", "recomputed")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_training_lowers_the_loss_in_windows_of_any_length(
    session: MakeSession, whisper: Path, tmp_path: Path
) -> None:
    changes = {"epochs": 4, "min_batches_per_epoch": 12, "max_batches_per_epoch": 12, "accumulation": 1}
    changes |= {"padding": "mixed", "lr": 3e-2, "joined_share": 0.5}
    session(changes=changes, k=None, p=0.9, base=str(whisper)).run()
    losses = [event["valid_loss"] for event in events(tmp_path / "run") if event["event"] == "epoch"]
    assert losses[-1] < 0.95 * losses[0]  # of clips that were not trained on, after the first epoch


def test_an_adapter_scores_and_merges_by_the_commands(
    session: MakeSession, whisper: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = session(changes=MORE, base=str(whisper)).run()
    asked = ["--data", str(corpus / "valid.jsonl"), "--device", "cpu", "--json"]
    assert evaluate_command([*asked, "--base", str(whisper), "--adapter", result["adapter"]]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["wer"] == result["wer_after"]
    out = tmp_path / "merged"
    assert adapters(["merge", result["adapter"], "--base", str(whisper), "--out", str(out)]) == 0
    merged = load_base(out, device="cpu")
    again = evaluate(merged, corpus / "valid.jsonl", progress=False)
    assert again.score.wer == result["wer_after"]
