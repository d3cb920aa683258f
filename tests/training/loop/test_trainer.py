"""Only the adapter learns, it learns by the recipe, and being interrupted changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ssvd_asr import device
from ssvd_asr.adapter.forms import Directions
from ssvd_asr.errors import SsvdError
from ssvd_asr.layer.linear import AdaptedLinear
from tests.training.runs import MakeSession, after, events
from training.loop import optimisation
from training.loop import trainer as trainer_module
from training.loop.checkpoint import CheckpointError
from training.loop.validation import Validation
from training.methods.method import SsvdMethod


def run_layers(network: torch.nn.Module) -> set[str]:
    """Names of the adapted linears, which have no mode of their own."""
    return {name for name, module in network.named_modules() if isinstance(module, AdaptedLinear)}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_interrupted_and_resumed_run_gives_the_same_bytes(
    session: MakeSession, tmp_path: Path, share: float
) -> None:
    changes: dict[str, object] = {"joined_share": share}
    trainer, _ = (planned := session("plan", changes)).build(*planned.load_data())
    rows = [row for epoch in range(2) for batch in trainer.plan.epoch(epoch) for row in batch.rows]
    assert any(len(row) > 1 for row in rows) == (share > 0)
    whole = session("whole", changes).run()
    assert whole["steps"] == 4
    expected = (tmp_path / "whole/adapter.safetensors").read_bytes()
    # In mid-epoch, after its last step, in its validation, after that, in the last epoch, after the last
    # validation: interruptions of one run. A validation of one batch asks once, and the loop once after it.
    for steps in (1, 1, 1, 2, 1, 3):
        part = session("parts", changes, resume=(tmp_path / "parts").exists()).run(after(steps))
        assert not part["finished"]
    assert session("parts", changes, resume=True).run()["finished"]
    assert (tmp_path / "parts/adapter.safetensors").read_bytes() == expected
    assert events(tmp_path / "parts") == events(tmp_path / "whole")


def test_changes_of_singular_values_can_have_a_rate_of_their_own_and_resume_with_it(
    session: MakeSession, tmp_path: Path
) -> None:
    for out, multiple in (("same", 1.0), ("ten", 10.0)):
        session(out, {"delta_sigma_rate": multiple}).run(after(1))  # Adam's first step is the rate, for each
    first = {out: load_file(tmp_path / out / "checkpoint.safetensors") for out in ("same", "ten")}
    for name in (name for name in first["same"] if name.startswith("parameter/")):
        times = 10.0 if "delta_sigma" in name else 1.0
        torch.testing.assert_close(first["ten"][name], times * first["same"][name], rtol=1e-3, atol=1e-9)
    whole = session("whole", {"delta_sigma_rate": 10.0}).run()
    assert session("ten", {"delta_sigma_rate": 10.0}, resume=True).run()["finished"]
    assert whole["finished"]
    files = [tmp_path / out / "adapter.safetensors" for out in ("ten", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_checkpoint_from_before_joined_rows_is_refused_by_its_recipe(
    session: MakeSession, tmp_path: Path
) -> None:
    session().run(after(1))
    path = tmp_path / "run/checkpoint.safetensors"
    with safe_open(path, framework="pt") as stored:
        metadata = dict(stored.metadata())
    identity = json.loads(metadata["identity"])
    del identity["recipe"]["joined_share"]
    save_file(load_file(path), path, {**metadata, "identity": json.dumps(identity)})
    with pytest.raises(CheckpointError, match=r"--joined-share: none then, 1\.0 now"):
        session(resume=True).run()


def test_only_the_adapter_trains_and_the_base_is_left_as_it_was(session: MakeSession) -> None:
    run = session()
    network = run.base.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    criterion = (network.ctc_weight, network.criterion_att.smoothing)
    random_state = torch.random.get_rng_state()
    run.run()
    # Adapted linears hold the same parameters one level deeper.
    now = {name.replace(".linear.", "."): tensor for name, tensor in network.state_dict().items()}
    assert now.keys() == before.keys()
    for name, tensor in before.items():
        assert torch.equal(now[name], tensor), name
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    wrapped = run_layers(network)
    assert not [name for name, module in network.named_modules() if module.training and name not in wrapped]
    assert network.specaug is None
    assert (network.ctc_weight, network.criterion_att.smoothing) == criterion
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_training_lowers_the_loss_on_data_never_trained_on(session: MakeSession, tmp_path: Path) -> None:
    changes = {"epochs": 4, "min_batches_per_epoch": 12, "max_batches_per_epoch": 12, "accumulation": 1}
    session(changes=changes, k=None, p=0.9).run()
    losses = [event["valid_loss"] for event in events(tmp_path / "run") if event["event"] == "epoch"]
    assert losses[-1] < 0.8 * losses[0]


def test_full_fine_tuning_moves_every_weight_and_its_file_scores_the_same(
    session: MakeSession, tmp_path: Path
) -> None:
    from ssvd_asr.base.load import load_base
    from training.evaluate import evaluate
    from training.methods.finish import put_weights

    run = session(method="full", k=None, changes={"lr": 1e-3})
    before = {name: p.detach().clone() for name, p in run.base.network.named_parameters()}
    result = run.run()
    for name, parameter in run.base.network.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    fresh = load_base(run.settings.base, device="cpu")
    assert put_weights(fresh, tmp_path / "run/weights.safetensors") == result["sha256"]
    again = evaluate(fresh, run.settings.valid, progress=False)
    assert again.score.wer == result["wer_after"]


@pytest.mark.parametrize("directions", ["head", "tail"])
def test_gradients_through_cores_made_once_equal_those_of_every_batch(
    session: MakeSession, directions: Directions
) -> None:
    run = session(directions=directions)
    train, valid = run.load_data()
    trainer, _ = run.build(train, valid)
    method = trainer.method
    assert isinstance(method, SsvdMethod)
    with torch.no_grad():
        for parameter in method.parameters.values():
            parameter.normal_(std=0.05)
    inputs = [torch.randn(3, 32) for _ in range(2)]
    layer = next(layer for layer in method.adapted.layers.values() if layer.in_features == 32)
    with method.step():
        assert layer.core is not None
        assert layer.core.shape == (6, 6)
        for x in inputs:
            layer(x).square().sum().backward()
    once = {name: p.grad.clone() for name, p in method.parameters.items() if p.grad is not None}
    for parameter in method.parameters.values():
        parameter.grad = None
    for x in inputs:
        with method.adapted.using(method.adapter.cores()):
            layer(x).square().sum().backward()
    assert once.keys() == {name for name, p in method.parameters.items() if p.grad is not None}
    for name, gradient in once.items():
        expected = method.parameters[name].grad
        assert expected is not None
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    assert any(gradient.abs().max() > 0 for gradient in once.values())


def test_mixed_precision_keeps_the_numbers_in_float32_and_learns_as_float32_does(
    session: MakeSession,
) -> None:
    losses = []
    for autocast in (False, True):
        run = session("mixed" if autocast else "exact")
        trainer, _ = run.build(*run.load_data())
        run._claim_folder()
        trainer.optimisation.autocast = autocast
        trainer.fit()
        assert all(p.dtype == torch.float32 for p in trainer.method.parameters.values())
        assert any(p.abs().max() > 0 for p in trainer.method.parameters.values())
        losses.append([e["valid_loss"] for e in events(run.settings.out) if e["event"] == "epoch"])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_bfloat16_is_refused_on_a_cpu_that_only_emulates_it(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "slow_in", lambda *_: True)
    with pytest.raises(SsvdError, match="this CPU has no instructions for it"):
        session(dtype="bfloat16").run()


def test_the_best_epoch_is_kept_and_patience_ends_the_run(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.5, 0.9, 0.1, 0.9])
    seen: list[dict[str, torch.Tensor]] = []
    run = session(changes={"epochs": 9, "patience": 2})
    train, valid = run.load_data()
    trainer, _ = run.build(train, valid)

    def validate(*_: object) -> Validation:
        seen.append({name: p.detach().clone() for name, p in trainer.method.parameters.items()})
        return Validation(1.0, next(accuracies))

    monkeypatch.setattr(trainer_module, "validate", validate)
    outcome = trainer.fit()
    assert (outcome.epochs, outcome.best_epoch, outcome.best_accuracy) == (4, 2, 0.9)
    for name, parameter in trainer.method.parameters.items():
        assert torch.equal(parameter, seen[1][name])
        assert not torch.equal(parameter, seen[3][name])


def test_a_gradient_that_is_not_finite_is_skipped_and_many_end_the_run(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = session(changes={"epochs": 40})
    train, valid = run.load_data()
    trainer, _ = run.build(train, valid)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    monkeypatch.setattr(trainer_module, "validate", lambda *_: Validation(1.0, 0.5))
    monkeypatch.setattr(optimisation, "MAX_SKIPPED_IN_A_ROW", 3)
    with pytest.raises(SsvdError, match="lower --lr"):
        trainer.fit()
    assert trainer.progress.skipped_steps == 3
    assert all(not parameter.any() for parameter in trainer.method.parameters.values())


def test_a_checkpoint_of_another_run_is_refused_by_what_differs(session: MakeSession, corpus: Path) -> None:
    assert not session().run(after(1))["finished"]
    with pytest.raises(SsvdError, match="--resume"):
        session().run()
    with pytest.raises(CheckpointError, match=r"\n  --lr: 0\.01 then, 0\.02 now$"):
        session(resume=True, changes={"lr": 2e-2}).run()
    with pytest.raises(CheckpointError, match="--data: sha256:"):
        session(resume=True, data=corpus / "valid.jsonl").run()
    with pytest.raises(CheckpointError, match="--map: first-order then, cayley now"):
        session(resume=True, rotation_map="cayley").run()
    with pytest.raises(CheckpointError, match="nothing to resume"):
        session("empty", resume=True).run()


@pytest.mark.parametrize("method", ["ssvd", "lora", "full"])
def test_a_diverged_run_ends_with_the_loss_and_the_rate(
    session: MakeSession, tmp_path: Path, method: str
) -> None:
    with pytest.raises(SsvdError, match=r"the loss .* was not finite .* lower --lr, now 1e\+30$"):
        session(method=method, k=6 if method == "ssvd" else None, changes={"lr": 1e30}).run()
    assert [path.name for path in (tmp_path / "run").glob("*.safetensors")] == ["checkpoint.safetensors"]

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    lines = (tmp_path / "run/log.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [line["valid_loss"] for line in logged if line["event"] == "epoch"] == [None, None]


def test_numbers_too_large_for_the_file_are_told_by_the_rate(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "validate", lambda *_: Validation(1.0, 0.5))
    with pytest.raises(SsvdError, match=r"not finite in float16, .* lower --lr, now 1e\+30$"):
        session(changes={"lr": 1e30}).run()


@pytest.mark.parametrize("bad", [Validation(float("nan"), 0.9), Validation(1.0, float("nan"))])
@pytest.mark.parametrize("place", [0, 1])
def test_an_epoch_that_is_not_finite_is_never_the_best(
    session: MakeSession, monkeypatch: pytest.MonkeyPatch, bad: Validation, place: int
) -> None:
    found = [Validation(1.0, 0.5)]
    found.insert(place, bad)
    trainer, _ = (run := session()).build(*run.load_data())
    monkeypatch.setattr(trainer_module, "validate", lambda *_: found.pop(0))
    outcome = trainer.fit()
    assert (outcome.best_epoch, outcome.best_accuracy) == (2 - place, 0.5)


@pytest.mark.parametrize(
    ("begun", "asked", "told"),
    [
        ({}, {"domain": "other"}, "--domain: tones then, other now"),
        ({}, {"scale": 0.5}, "--scale: 1.0 then, 0.5 now"),
        ({"scale": None}, {"scale": 0.5}, "--scale: not given then, 0.5 now"),
        ({}, {"directions": "tail"}, "--directions: head then, tail now"),
        ({}, {"k": 5}, "--k: 6 then, 5 now"),
        ({}, {"sides": "both"}, "--sides: inner then, both now"),
        ({}, {"delta_sigma": False}, "--no-delta-sigma: false then, true now"),
        ({}, {"scope": "encoder"}, "--scope: all then, encoder now"),
        ({}, {"overrides": {"output_layer": 3}}, "--override: not given then, output_layer=3 now"),
        ({"method": "svft-banded", "k": None}, {"off_diagonals": 2}, "--off-diagonals: 8 then, 2 now"),
        ({"method": "lora", "k": None}, {"rank": 2, "alpha": 16.0}, "--rank: 16 then, 2 now"),
        ({"method": "lora", "k": None}, {"embedding": False}, "--no-embedding: false then, true now"),
    ],
)
def test_a_difference_is_told_by_the_commands_own_option_and_value(
    session: MakeSession, begun: dict[str, Any], asked: dict[str, Any], told: str
) -> None:
    session(**begun).run(after(1))
    with pytest.raises(CheckpointError) as refused:
        session(resume=True, **{**begun, **asked}).run()
    assert str(refused.value).split(":\n  ")[1].splitlines() == [told]


def test_other_test_data_are_refused_and_the_same_elsewhere_are_not(
    session: MakeSession, corpus: Path, tmp_path: Path
) -> None:
    test = corpus / "valid.jsonl"
    session(test=test).run(after(1))
    moved = tmp_path / "moved"
    shutil.copytree(corpus, moved)
    with pytest.raises(CheckpointError, match=r"--test: sha256:\w+ then, not given now$"):
        session(resume=True).run()
    with pytest.raises(CheckpointError, match=r"--test: sha256:\w+ then, sha256:\w+ now$"):
        session(resume=True, test=corpus / "train.jsonl").run()
    assert session(resume=True, test=moved / "valid.jsonl", recompute=True).run()["finished"]


@pytest.mark.parametrize("asked", [{"domain": "other"}, {"scale": 0.5}])
def test_a_finished_run_keeps_its_result_from_other_options(
    session: MakeSession, tmp_path: Path, asked: dict[str, Any]
) -> None:
    assert session().run()["finished"]
    results = [tmp_path / "run" / name for name in ("adapter.safetensors", "result.json")]
    before = [path.read_bytes() for path in results]
    with pytest.raises(CheckpointError, match="then, "):
        session(resume=True, **asked).run()
    assert [path.read_bytes() for path in results] == before


def test_a_damaged_checkpoint_is_refused(session: MakeSession, tmp_path: Path) -> None:
    session().run(after(1))
    path = tmp_path / "run/checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        session(resume=True).run()
