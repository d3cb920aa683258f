"""Two processes make the steps that one makes, whoever started them and however many there were before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssvd_asr.errors import SsvdError
from tests.random_whisper import write_random_whisper
from tests.training.runs import RECIPE, MakeSession, after, events
from training.loop.processes import ALONE, FabricProcesses, Processes, launch

# Gradients of two processes are added in another order than those of one: float32's last digits.
CLOSE = 1e-5
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


class Pair(FabricProcesses):
    """One of two, for what needs no other."""

    def __init__(self, rank: int, *, sharded: bool = False) -> None:
        self.rank, self.count, self.sharded = rank, 2, sharded


class Doubling(Pair):
    """One of two whose sums are twice its own."""

    def _sum(self, values: Tensor) -> Tensor:
        return 2 * values

    def total(self, values: Tensor) -> Tensor:
        return self._sum(values)


def command(corpus: Path, base: Path, out: Path, *options: str) -> list[str]:
    """`ssvd train` with the recipe of these tests, without the interpreter."""
    recipe = [word for name, value in RECIPE.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    data = ["--data", str(corpus / "train.jsonl"), "--valid", str(corpus / "valid.jsonl")]
    where = ["--domain", "tones", "--base", str(base), "--out", str(out), "--device", "cpu", "--scale", "1"]
    return ["-m", "ssvd_asr.cli", "train", *where, *data, *recipe, *options]


def run_two(words: list[str]) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-9000:]
    assert done.stderr.count("in 2 processes") == 1  # as Fabric counts them, told by the first alone


def assert_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name].float(), tensor.float(), rtol=1e-3, atol=CLOSE, msg=name)


def assert_same_log(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Each step once, each value within rounding."""
    assert [(event["event"], event["step"]) for event in found] == [
        (event["event"], event["step"]) for event in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert {k: v for k, v in one.items() if k != "event"} == pytest.approx(
            {k: v for k, v in other.items() if k != "event"}, rel=1e-3
        )


@pytest.mark.parametrize("by_torchrun", [False, True], ids=["--processes", "torchrun"])
def test_a_run_begun_by_one_process_is_ended_by_two_as_by_one(
    session: MakeSession, corpus: Path, base_folder: Path, tmp_path: Path, by_torchrun: bool
) -> None:
    session("alone").run()
    assert not session("pair").run(after(1))["finished"]
    words = command(corpus, base_folder, tmp_path / "pair", "--k", "6", "--resume")
    run_two([*TORCHRUN, *words] if by_torchrun else [*words, "--processes", "2"])
    expected = load_file(tmp_path / "alone/adapter.safetensors")
    assert_close(load_file(tmp_path / "pair/adapter.safetensors"), expected)
    assert_same_log(events(tmp_path / "pair"), events(tmp_path / "alone"))
    # What two processes left behind is read by one, and leads to the same numbers; the canary beside them is
    # as many threads as there are make it.
    written = load_file(tmp_path / "pair/adapter.safetensors")
    assert session("pair", resume=True).run()["finished"]
    again = load_file(tmp_path / "pair/adapter.safetensors")
    assert again.keys() == written.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in written.items())


@pytest.mark.parametrize("family", ["OWSM", "Whisper"])
def test_weights_sharded_over_two_processes_of_torchrun_train_as_whole_ones(
    session: MakeSession, corpus: Path, base_folder: Path, tmp_path: Path, family: str
) -> None:
    base = base_folder if family == "OWSM" else write_random_whisper(tmp_path / "tiny-whisper")
    slow = {"lr": 1e-4}  # a random network's loss is steep in all its weights
    session("alone", slow, base=str(base), method="full", k=None).run()
    assert not session("pair", slow, base=str(base), method="full", k=None).run(after(1))["finished"]
    options = ["--method", "full", "--shard", "--recompute", "--resume"]
    words = command(corpus, base, tmp_path / "pair", *options)
    words[words.index("--lr") + 1] = "0.0001"
    run_two([*TORCHRUN, *words])
    expected = load_file(tmp_path / "alone/weights.safetensors")
    assert_close(load_file(tmp_path / "pair/weights.safetensors"), expected)
    losses = [
        [e["valid_loss"] for e in events(tmp_path / o) if e["event"] == "epoch"] for o in ("alone", "pair")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert len(losses[0]) == RECIPE["epochs"]


def test_two_processes_train_a_method_of_peft_as_one_does(
    session: MakeSession, corpus: Path, base_folder: Path, tmp_path: Path
) -> None:
    session("alone", method="lora", rank=2, k=None).run()
    words = command(corpus, base_folder, tmp_path / "pair", "--method", "lora", "--rank", "2")
    run_two([*words, "--processes", "2"])
    alone, pair = (load_file(tmp_path / out / "weights.safetensors") for out in ("alone", "pair"))
    assert_close(pair, alone)
    assert_same_log(events(tmp_path / "pair"), events(tmp_path / "alone"))


def test_recomputed_layers_train_to_the_same_bytes(
    session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[Any] = []

    def counting(forward: Any, *inputs: Any, **options: Any) -> Any:
        def counted(*values: Any) -> Any:
            computed.append(forward)
            return forward(*values)

        return checkpoint(counted, *inputs, **options)

    monkeypatch.setattr("training.loop.recompute.checkpoint", counting)
    session("kept").run()
    assert not computed
    run = session("recomputed", recompute=True)
    steps = run.run()["steps"]
    layers = len(run.base.network.encoder.encoders) + len(run.base.network.decoder.decoders)
    assert len(computed) == 2 * layers * steps * RECIPE["accumulation"]  # forward, and again in backward
    files = [tmp_path / out / "adapter.safetensors" for out in ("kept", "recomputed")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("batches", range(6))
@pytest.mark.parametrize("sharded", [False, True])
def test_each_batch_is_computed_once_and_sharded_ones_keep_step(batches: int, sharded: bool) -> None:
    turns = [Pair(rank, sharded=sharded).turns(batches) for rank in (0, 1)]
    counted = [turn.index for own in turns for turn in own if turn.weight]
    assert sorted(counted) == list(range(batches))
    assert all(turn.index < max(1, batches) for own in turns for turn in own)
    if sharded:
        assert len(turns[0]) == len(turns[1])
        assert {turn.weight for own in turns for turn in own} <= {0.0, 2.0}


def test_gradients_are_added_bucket_by_bucket_and_the_unreached_stay_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.loop.processes.BUCKET_NUMBERS", 5)
    shapes = [(2, 2), (3,), (7,), (1,)]
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    gradients = [torch.randn(shape) for shape in shapes]
    for parameter, gradient in zip(parameters[:3], gradients, strict=False):
        parameter.grad = gradient.clone()
    Doubling(1).add_gradients(parameters)
    for parameter, gradient in zip(parameters[:3], gradients, strict=False):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, 2 * gradient)
    assert parameters[3].grad is None


def test_one_process_shares_nothing_and_starts_nothing() -> None:
    assert launch(1, "cpu") is ALONE
    assert isinstance(ALONE, Processes)
    assert [turn.index for turn in ALONE.turns(3)] == [0, 1, 2]
    assert ALONE.any(True, False) == [True, False]


def test_more_processes_than_batches_a_step_are_refused(session: MakeSession) -> None:
    asked = session(changes={"accumulation": 1})
    asked.processes = Pair(0)
    train, valid = asked.load_data()
    with pytest.raises(SsvdError, match=r"2 processes share .* --accumulation is 1"):
        asked.build(train, valid)


def test_numbers_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SsvdError, match="give --processes"):
        launch(1, "cpu", sharded=True)
    with pytest.raises(SsvdError, match="one device"):
        launch(2, "cuda:1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(SsvdError, match="torchrun started 4"):
        launch(2, "cpu")


def test_only_full_fine_tuning_is_sharded(session: MakeSession) -> None:
    asked = session()
    asked.processes = Pair(0, sharded=True)
    train, valid = asked.load_data()
    with pytest.raises(SsvdError, match="not ssvd"):
        asked.build(train, valid)
