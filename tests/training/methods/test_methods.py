"""Every method starts as the base, trains its own numbers only, lowers the loss; its file scores the same."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ssvd_asr.adapter.read import inspect_adapter
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.errors import SsvdError
from training import recipe as settings
from training.loop.run import RESULT_FILE, RunSettings, Session
from training.methods.choices import PEFT, check_choices
from training.methods.method import SsvdMethod

RECIPE: dict[str, object] = {
    "epochs": 3,
    "min_batches_per_epoch": 10,
    "max_batches_per_epoch": 10,
    "batch_audio_s": 8.0,
    "accumulation": 1,
    "lr": 1e-2,
    "warmup_steps": 5,
    "dropout": 0.0,
}
# Every method in a small size, as `RunSettings` takes it.
CASES: dict[str, dict[str, Any]] = {
    "ssvd": {"method": "ssvd", "p": 0.9},
    "two-sided": {"method": "ssvd", "sides": "both", "p": 0.6},
    "tail": {"method": "ssvd", "directions": "tail", "delta_sigma": False, "p": 0.6},
    "budget": {"method": "ssvd", "budget": 9000, "scope": "decoder"},
    "lora-xs": {"method": "lora-xs", "p": 0.6},
    "svft-plain": {"method": "svft-plain"},
    "svft-banded": {"method": "svft-banded", "off_diagonals": 2},
    "svft-top-k": {"method": "svft-top-k", "off_diagonals": 2},
    "svft-random": {"method": "svft-random", "off_diagonals": 2},
    "lora": {"method": "lora", "rank": 4},
    "dora": {"method": "dora", "rank": 4},
    "vera": {"method": "vera", "rank": 16},
    "vera-linears": {"method": "vera", "rank": 64, "embedding": False},
    "pissa": {"method": "pissa", "rank": 4},
    "lora-encoder": {"method": "lora", "rank": 4, "scope": "encoder"},
    "full-decoder": {"method": "full", "scope": "decoder"},
}
CORES = ("two-sided", "tail", "lora-xs", "svft-top-k")
MERGED = tuple(name for name, case in CASES.items() if case["method"] in (*PEFT, "full"))
MakeSession = Callable[..., Session]


@pytest.fixture
def session(base_folder: Path, corpus: Path, tmp_path: Path) -> MakeSession:
    def make(changes: dict[str, object] | None = None, **settings: Any) -> Session:
        asked = RunSettings(
            domain="tones",
            data=corpus / "train.jsonl",
            valid=corpus / "valid.jsonl",
            out=tmp_path / "run",
            base=str(base_folder),
            scale=1.0,
            device="cpu",
            progress=False,
        )
        return Session(replace(asked, **settings), {**RECIPE, **(changes or {})})

    return make


def logits(base: BaseModel) -> Tensor:
    """(1, 3, V) of a fixed input through encoder and decoder."""
    from ssvd_asr.base.owsm.probe import ESPNET_PROBE

    with torch.no_grad():
        return ESPNET_PROBE.run(base.network.eval())["logits"]


@pytest.mark.parametrize("name", list(CASES))
def test_an_untrained_method_is_the_base(session: MakeSession, name: str) -> None:
    run = session(**CASES[name])
    expected = logits(run.base)
    train, valid = run.load_data()
    method = run.build(train, valid)[0].method
    with method.using():
        found = logits(run.base)
    if CASES[name]["method"] == "pissa":  # W is taken apart and put together again
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    else:
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", list(CASES))
def test_the_loss_falls_and_only_the_methods_parameters_move(
    session: MakeSession, tmp_path: Path, name: str
) -> None:
    run = session(**CASES[name])
    train, valid = run.load_data()
    trainer, _ = run.build(train, valid)
    trained = {id(parameter) for parameter in trainer.method.parameters.values()}
    still = [
        (n, p, p.detach().clone()) for n, p in run.base.network.named_parameters() if id(p) not in trained
    ]
    start = {n: p.detach().clone() for n, p in trainer.method.parameters.items()}
    trainer.fit()
    assert all(torch.equal(p, before) for _, p, before in still)
    moved = [n for n, p in trainer.method.parameters.items() if not torch.equal(p, start[n])]
    assert len(moved) > 0.9 * len(start)
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    losses = [line["valid_loss"] for line in lines if line["event"] == "epoch"]
    assert losses[-1] < losses[0]
    if (scope := CASES[name].get("scope", "all")) != "all":
        method = trainer.method
        names = method.adapter.ks if isinstance(method, SsvdMethod) else start
        assert all(name.startswith(f"{scope}.") for name in names)


@pytest.mark.parametrize("name", MERGED)
def test_merged_weights_score_and_answer_as_the_trained_network_did(
    session: MakeSession, tmp_path: Path, name: str
) -> None:
    from ssvd_asr.base.load import load_base
    from training.methods.finish import put_weights

    run = session({"epochs": 1}, **CASES[name])
    fitted = run.fit()
    trained = logits(run.base)
    result = fitted.finish(fitted.summary)
    fresh = load_base(run.settings.base, device="cpu")
    untrained = logits(fresh)
    assert put_weights(fresh, tmp_path / "run/weights.safetensors") == result["sha256"]
    torch.testing.assert_close(logits(fresh), trained, rtol=1e-3, atol=1e-3)
    assert (trained - untrained).abs().max() > 1e-2
    assert result["parameters"] < result["base_parameters"]
    if CASES[name]["method"] != "full":
        assert 0 < result["adapter_bytes"] < result["bytes"]


@pytest.mark.parametrize("name", CORES)
def test_an_adapter_of_any_form_is_sealed_published_and_scored_as_read(
    session: MakeSession, tmp_path: Path, name: str
) -> None:
    from adapters_store.store import AdapterStore

    result = session({"epochs": 1}, publish=True, store=tmp_path / "store", **CASES[name]).run()
    version = AdapterStore(tmp_path / "store").resolve("tones")
    assert version.sha256 == result["sha256"]
    assert version.metadata.format_version == 3  # with the voices of its training data
    assert version.metadata.voices is not None
    assert version.metadata.training["wer_after"] == result["wer_after"]


def test_pefts_own_file_read_by_peft_gives_the_same_model(session: MakeSession, tmp_path: Path) -> None:
    from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors.torch import load_file

    from ssvd_asr.base.load import load_base

    run = session({"epochs": 1}, method="lora", rank=4)
    fitted = run.fit()
    expected = logits(run.base)
    fitted.finish(fitted.summary)
    fresh = load_base(run.settings.base, device="cpu")
    for folder in (tmp_path / "run/peft").iterdir():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of peft: a second adapter in one model
            inject_adapter_in_model(PeftConfig.from_pretrained(str(folder)), fresh.network, folder.name)
    for folder in (tmp_path / "run/peft").iterdir():
        state = load_file(folder / "adapter_model.safetensors")
        set_peft_model_state_dict(fresh.network, state, adapter_name=folder.name)
    for module in fresh.network.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter(["linears", "embedding"])
    torch.testing.assert_close(logits(fresh), expected, rtol=1e-4, atol=1e-4)


def test_an_option_of_another_method_is_refused_by_name(session: MakeSession) -> None:
    for asked, message in (
        ({"method": "lora", "p": 0.4}, "--p does not go with --method lora"),
        ({"method": "full", "rank": 4}, "--rank does not go with --method full"),
        (
            {"method": "vera", "alpha": 4.0},
            "--alpha does not go with --method vera; it is for lora, dora, pissa",
        ),
        ({"method": "lora", "rotation_map": "cayley"}, "--map does not go with"),
        ({"method": "ssvd", "embedding": False}, "--no-embedding does not go with --method ssvd"),
        ({"method": "ssvd", "p": 0.4, "budget_rule": "shape"}, "--budget-rule shape goes with --budget"),
        ({"method": "pissa", "publish": True}, "leaves merged weights: evaluate them"),
    ):
        with pytest.raises(SsvdError, match=message):
            check_choices(session(**asked).settings)


def test_a_size_that_trains_nothing_is_refused_before_training(session: MakeSession) -> None:
    run = session(method="ssvd", k=1, delta_sigma=False)
    with pytest.raises(SsvdError, match="--method ssvd of this size trains nothing"):
        run.build(*run.load_data())


@pytest.mark.parametrize("delta_sigma", [True, False])  # without, one direction alone trains nothing
def test_layers_that_a_budget_gives_nothing_are_named_in_one_line_and_in_the_result(
    session: MakeSession, tmp_path: Path, delta_sigma: bool
) -> None:
    run = session({"epochs": 1}, method="ssvd", budget=60, delta_sigma=delta_sigma)
    every = set(match_layers(run.base.network, run.base.linears))  # before they are adapted
    told: list[str] = []
    run.report = told.append
    result = run.run()
    file = inspect_adapter(tmp_path / "run/adapter.safetensors")
    trained = {name for name, k in file.ks.items() if file.form.parameters(k)}
    assert set(result["untrained_layers"]) == every - trained
    assert trained < every
    (line,) = [line for line in told if "no numbers to train" in line]
    assert f"layers: {result['untrained_layers'][0]}" in line
    assert json.loads((tmp_path / "run" / RESULT_FILE).read_text()) == result


@pytest.mark.parametrize(("small_up_to", "alpha"), [(0, 8.0), (10**9, 4.0)])
def test_alpha_follows_the_size_of_the_base(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, small_up_to: int, alpha: float
) -> None:
    monkeypatch.setattr(settings, "NANO_MAX_PARAMETERS", small_up_to)
    run = session(method="lora", rank=4)
    trainer, _ = run.build(*run.load_data())
    assert trainer.identity["alpha"] == alpha
    (scaling,) = {
        module.scaling["linears"] for module in run.base.network.modules() if hasattr(module, "scaling")
        and "linears" in module.scaling
    }  # fmt: skip
    assert scaling == alpha / 4


def test_a_missing_peft_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['peft'] = None\n"
        "from torch import nn; from training.methods.peft import PeftMethod\n"
        "from ssvd_asr.extras import extra_of\n"
        "try: PeftMethod(nn.Sequential(nn.Linear(4, 4)), 'lora', ['0'], rank=2)\n"
        "except ModuleNotFoundError as error: print(extra_of(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "benchmark\n", done.stderr
