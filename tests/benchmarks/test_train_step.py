"""benchmarks/train_step: both sides train what they should, on a batch that a model can learn from."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from benchmarks import train_step


@pytest.mark.parametrize("side", train_step.SIDES)
def test_a_step_moves_what_the_side_trains_and_nothing_else(side: str) -> None:
    device = torch.device("cpu")
    made = train_step._side(side, "tiny", device, 0.4)
    own = {id(parameter) for parameter in made.parameters}
    before = {name: p.detach().clone() for name, p in made.base.network.named_parameters()}
    trained = [parameter.detach().clone() for parameter in made.parameters]
    with ExitStack() as modes:
        step = train_step._ready(made, device, train_step._parse(["--quick", "--device", "cpu"]), modes)
        step()
    assert any(not torch.equal(old, new) for old, new in zip(trained, made.parameters, strict=True))
    for name, parameter in made.base.network.named_parameters():
        assert id(parameter) in own or torch.equal(parameter, before[name]), name


def test_a_quick_run_writes_seconds_and_bytes_of_each_side(tmp_path: Path) -> None:
    train_step.main(
        ["--quick", "--device", "cpu", "--repeats", "1", "--sides", "lora", "ssvd", "--out", str(tmp_path)]
    )
    rows = json.loads((tmp_path / "train_step-tiny-cpu.json").read_text(encoding="utf-8"))["rows"]
    assert [row["side"] for row in rows] == ["lora", "ssvd"]
    for row in rows:
        assert row["peak_bytes"] == row["held_bytes"] + row["step_bytes"]
        assert row["step_s"] > 0
        assert row["step_bytes"] > 0
