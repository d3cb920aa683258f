"""An OWSM-CTC is trained, evaluated and merged by the same code as an OWSM with a decoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters_store.commands import main as adapters
from ssvd_asr.base.load import load_base
from tests.random_owsm import TINY_CTC, write_random_owsm
from tests.training.runs import MakeSession, events
from training.evaluate import evaluate
from training.evaluate_command import main as evaluate_command

MORE = {"batch_audio_s": 16.0, "epochs": 1}


@pytest.fixture(scope="session")
def owsm_ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_owsm(tmp_path_factory.mktemp("base") / "tiny-ctc", TINY_CTC)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_other_methods_train_it(session: MakeSession, owsm_ctc: Path, method: str) -> None:
    sized = {"k": None, "rank": 4} if method == "lora" else {"k": None}
    result = session(changes=MORE, base=str(owsm_ctc), method=method, **sized).run()
    assert result["finished"]
    assert Path(result["weights"]).is_file()


def test_training_lowers_the_loss(session: MakeSession, owsm_ctc: Path, tmp_path: Path) -> None:
    changes = {"epochs": 4, "min_batches_per_epoch": 12, "max_batches_per_epoch": 12, "accumulation": 1}
    changes |= {"padding": "mixed", "lr": 3e-2, "joined_share": 0.5}
    session(changes=changes, k=None, p=0.9, base=str(owsm_ctc)).run()
    losses = [event["valid_loss"] for event in events(tmp_path / "run") if event["event"] == "epoch"]
    assert losses[-1] < 0.95 * losses[0]  # of clips that were not trained on, after the first epoch


def test_an_adapter_scores_and_merges_by_the_commands(
    session: MakeSession, owsm_ctc: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = session(changes=MORE, base=str(owsm_ctc)).run()
    asked = ["--data", str(corpus / "valid.jsonl"), "--device", "cpu", "--json"]
    assert evaluate_command([*asked, "--base", str(owsm_ctc), "--adapter", result["adapter"]]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["wer"], scored["search"]) == (result["wer_after"], "ctc")
    out = tmp_path / "merged"
    assert adapters(["merge", result["adapter"], "--base", str(owsm_ctc), "--out", str(out)]) == 0
    assert (
        evaluate(load_base(out, device="cpu"), corpus / "valid.jsonl", progress=False).score.wer
        == (result["wer_after"])
    )
