"""`ssvd train` and `ssvd evaluate`: one JSON object each, and figures that agree."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssvd_asr import cli
from ssvd_asr.adapter.read import inspect_adapter
from training import evaluate_command, train_command
from training.arguments import min_usable, override
from training.loop.interrupt import stop_on_signal
from training.recipe import NANO, OWSM, Recipe, recipe_for


def one_object(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found: dict[str, Any] = json.loads(out)
    return found


def train(base: Path, corpus: Path, out: Path, *more: str) -> int:
    data = ["--data", str(corpus / "train.jsonl"), "--valid", str(corpus / "valid.jsonl")]
    short = ["--epochs", "1", "--min-batches-per-epoch", "2", "--max-batches-per-epoch", "2", "--lr", "0.02"]
    where = ["--base", str(base), "--out", str(out), "--device", "cpu", "--json"]
    return train_command.main(["--domain", "tones", *data, *short, *where, *more])


def test_train_publish_and_evaluate_agree_on_bytes_and_figures(
    base_folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = tmp_path / "store", tmp_path / "run"
    options = ("--publish", "--store", str(store), "--p", "0.25", "--override", "output_layer=3")
    assert train(base_folder, corpus, out, *options) == 0
    result = one_object(capsys)
    assert result["published"] == "tones@1"
    assert json.loads((out / "result.json").read_text()) == result
    report = json.loads((out / "data-report.json").read_text())
    assert report.keys() == {"train", "valid", "shared"}
    assert report["shared"] == {"train and valid": {"audio": 0, "texts": 4}}
    assert list((out / "tensorboard").iterdir())

    metadata = inspect_adapter(out / "adapter.safetensors")
    assert metadata.ks["decoder.output_layer"] == 3
    assert metadata.ks["encoder.embed.out"] == 8
    assert metadata.training["wer_after"] == result["wer_after"]
    assert metadata.training["wer_raw_before"] == result["wer_raw_before"]

    common = ["--data", str(corpus / "valid.jsonl"), "--base", str(base_folder), "--json", "--device", "cpu"]
    hypotheses = tmp_path / "hyp.jsonl"
    assert evaluate_command.main([*common, "--hypotheses", str(hypotheses)]) == 0
    before = one_object(capsys)
    assert evaluate_command.main([*common, "--domain", "tones", "--store", str(store), "--batch", "3"]) == 0
    by_name = one_object(capsys)
    assert evaluate_command.main([*common, "--adapter", str(out / "adapter.safetensors")]) == 0
    by_file = one_object(capsys)
    assert before["wer"] == result["wer_before"]
    assert by_name["wer"] == by_file["wer"] == result["wer_after"]
    assert by_name["adapter_sha256"] == by_file["adapter_sha256"] == result["sha256"]
    assert (by_name["domain"], by_name["version"]) == ("tones", 1)
    assert before["adapter_sha256"] is None
    assert before["base_digest"] == result["base_digest"] == metadata.base_digest
    lines = [json.loads(line) for line in hypotheses.read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"valid-{i}" for i in range(4)]
    assert all(line.keys() == {"id", "ref", "hyp"} for line in lines)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--ctc-weight", "1.5"),
        ("--p", "inf"),
        ("--alpha", "inf"),
        ("--scale", "inf"),
        *(
            (f"--{name.replace('_', '-')}", value)
            for name, field in Recipe.model_fields.items()
            if field.annotation in (float, float | None)
            for value in ("inf", "-inf", "nan")
        ),
        ("--cache-gib", "nan"),
        ("--cache-gib", "inf"),
        ("--cache-gib", "-1"),
        ("--override", "embed=nan"),
        ("--override", "embed=1.5"),
    ],
)
def test_a_wrong_value_is_a_usage_error(
    base_folder: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        train(base_folder, corpus, tmp_path, option, value)
    assert ended.value.code == 2
    assert option in capsys.readouterr().err


def test_figures_are_printed_even_if_the_hypotheses_cannot_be_written(
    base_folder: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--base", str(base_folder), "--data", str(corpus / "valid.jsonl"), "--json"]
    assert cli.main([*arguments, "--hypotheses", "/dev/full"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["utterances"] == 4
    assert "/dev/full cannot be written: No space left on device" in err


def test_every_field_of_the_recipe_has_an_option() -> None:
    given = {"patience": "none", "lr": "1e-3", "padding": "mixed", "normalise-text": "true", "epochs": "3"}
    argv = ["--domain", "d", "--data", "a", "--valid", "b"]
    for name, value in given.items():
        argv += [f"--{name}", value]
    arguments = train_command._parser().parse_args(argv)
    assert train_command._recipe_changes(arguments) == {
        "patience": None, "lr": 1e-3, "padding": "mixed", "normalise_text": True, "epochs": 3,
    }  # fmt: skip
    for name in Recipe.model_fields:
        assert hasattr(arguments, f"recipe_{name}")


def test_the_recipe_follows_the_size_of_the_base_and_the_method() -> None:
    assert recipe_for(101_180_000) == OWSM
    assert recipe_for(2_600_000) == NANO
    assert recipe_for(2_600_000, "full").changed(lr=NANO.lr) == NANO
    assert recipe_for(2_600_000, "full").lr < NANO.lr
    assert recipe_for(101_180_000, "full") == OWSM


def test_sizes_and_shares_are_told_apart() -> None:
    assert [min_usable(text) for text in ("20", "0.9", "90%", "1.0")] == [20, 0.9, 0.9, 1.0]
    assert override("attn.linear_q=16") == ("attn.linear_q", 16)
    assert override("output_layer=0.1") == ("output_layer", 0.1)


def test_the_first_signal_asks_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_commands_help_loads_neither_torch_nor_espnet() -> None:
    code = (
        "import sys, training.train_command as t, training.evaluate_command as e\n"
        "for module in (t, e):\n"
        "    try: module.main(['--help'])\n"
        "    except SystemExit: pass\n"
        "print(sorted({'torch', 'espnet2', 'lhotse', 'tensorboard'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("train", ["--data", "none.jsonl"], "no data at none.jsonl"),
        ("train", ["--test", "none.jsonl"], "no data at none.jsonl"),
        ("train", ["--out", "afile"], "--out afile: a folder is wanted, and it is a file"),
        ("train", ["--out", "afile/run"], "--out afile/run: a folder is wanted, and it lies below"),
        ("train", ["--domain", "child", "--publish"], "'child' is built in"),
        ("train", ["--over", "tones"], "--over is for --publish"),
        ("evaluate", ["--data", "none.jsonl"], "no data at none.jsonl"),
        ("evaluate", ["--domain", "klingon"], "no domain 'klingon'"),
        ("evaluate", ["--adapter", "afile"], "not an adapter file"),
        ("evaluate", ["--adapter", "none"], "adapter none cannot be read"),
        ("evaluate", ["--weights", "none"], "--weights none: there is no such file"),
        ("evaluate", ["--hypotheses", "."], "--hypotheses .: a file is wanted, and it is a folder"),
        ("evaluate", ["--hypotheses", "none/h.jsonl"], "there is no folder none"),
        ("factorize", ["--cache-dir", "afile"], "--cache-dir afile: a folder is wanted"),
        ("factorize", ["--device", "tpu"], "device 'tpu' is not one of"),
        ("serve", ["--store", "afile"], "afile"),
        ("bench", ["methods", "--out", "."], "--out .: a file is wanted"),
        ("bench", ["methods", "--work", "afile"], "--work afile: a folder is wanted"),
        ("bench", ["methods", "--data", "none"], "no corpus at none"),
    ],
)
def test_a_wrong_path_or_name_is_told_before_a_base_is_loaded(
    command: str,
    arguments: list[str],
    told: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSVD_STORE", str(tmp_path / "store"))
    Path("afile").write_text("{}")

    def loaded(*_: object, **__: object) -> None:
        pytest.fail("a base was loaded")

    monkeypatch.setattr("ssvd_asr.base.load.load_base", loaded)
    monkeypatch.setattr("server.engine.model_recogniser.load_base", loaded)
    usual = {
        "train": ["--domain", "tones", "--data", f"{corpus}/train.jsonl", "--valid", f"{corpus}/valid.jsonl"],
        "evaluate": ["--data", f"{corpus}/valid.jsonl"],
        "serve": ["--port", "0"],
    }
    assert cli.main([command, *usual.get(command, []), *arguments]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
