"""Seconds and peak memory of a training step of SSVD and of LoRA of rank 16 (PEFT), on one base and batch.

A step is forward, backward and AdamW over one batch of full windows, with the base's default recipe. Both
sides adapt the same linears. `ssvd` takes the form that its cost model chooses for each layer
(ssvd_asr.layer.step_cost), and `ssvd-shared` the shared basis everywhere. `plain` trains one bias only, the
lower limit for any adapter.

Seconds are measured in turns in one process. Memory is measured in a separate process for each side. `held`
is the memory before the first step (weights, basis, adapter). `step` is how far two steps rise above it
(activations, gradients, AdamW's moments), by the kernel's or CUDA's high-water mark. `..._of_lora` are ratios
to LoRA's.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Literal, NamedTuple

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from benchmarks.report import parser, side_by_side, write
from benchmarks.subject import subject
from ssvd_asr.adapted_model import AdaptedModel
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.forms import DEFAULT_MAP
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.shapes import SHAPES, random_base
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.layer.step_cost import StepForm
from training.bench.peak_memory import RETURNED, mark, peak
from training.loop.recompute import recomputed_layers
from training.recipe import recipe_for

RANK = 16
FORMS: Mapping[str, StepForm | Literal["auto"]] = {"ssvd": "auto", "ssvd-shared": "shared"}
SIDES = ("plain", "lora", *FORMS)
TOKENS_PER_SECOND = 3.3  # of speech, as in OWSM's texts


class Side(NamedTuple):
    """One way of training, on its own base."""

    base: BaseModel
    parameters: list[nn.Parameter]
    around: Callable[[], AbstractContextManager[None]]  # forward and backward of a step


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write a table for each shape."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    if arguments.only is not None:
        print(json.dumps(_memory(arguments.shapes[0], arguments.only, device, arguments)))
        return
    for shape in arguments.shapes:
        write(
            f"train_step-{shape}", _compare(shape, device, arguments), device=device, out=arguments.out,
            quick=arguments.quick, p=arguments.p, lora_rank=RANK,
            dtype="bfloat16 autocast" if device.type == "cuda" else "float32",
            repeats=arguments.repeats, clock=arguments.clock, recompute=arguments.recompute,
        )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument(
        "--shapes", nargs="+", choices=SHAPES, help="default nano and 0.1b; on a GPU 0.1b and 1b"
    )
    made.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    made.add_argument("--rows", type=int, help="utterances a batch; default 2, on a GPU 8")
    made.add_argument("--p", type=float, default=0.4, help="k = p min(m, n)")
    made.add_argument("--repeats", type=int, help="default 3, on a GPU 10")
    made.add_argument("--recompute", action="store_true", help="with gradient checkpointing")
    made.add_argument("--only", choices=SIDES, help="print the memory of one side of one shape as JSON")
    arguments = made.parse_args(argv)
    gpu, quick = resolve_device(arguments.device).type == "cuda", arguments.quick
    arguments.shapes = arguments.shapes or (
        ["tiny"] if quick else ["0.1b", "1b"] if gpu else ["nano", "0.1b"]
    )
    arguments.rows = arguments.rows or (8 if gpu else 2)
    arguments.repeats = arguments.repeats or (10 if gpu else 3)
    return arguments


def _compare(shape: str, device: torch.device, arguments: argparse.Namespace) -> list[dict[str, object]]:
    with ExitStack() as modes:
        runs = {
            name: _ready(_side(name, shape, device, arguments.p), device, arguments, modes)
            for name in arguments.sides
        }
        timed = side_by_side(runs, arguments.repeats, clock=arguments.clock)
    del runs
    if device.type == "cuda":  # memory is measured in other processes
        gc.collect()
        torch.cuda.empty_cache()
    memory = {name: _memory_elsewhere(shape, name, arguments) for name in arguments.sides}
    rows = []
    for name in arguments.sides:
        row: dict[str, object] = {"shape": shape, "side": name, "rows": arguments.rows}
        row |= {"step_s": timed[name].median_s, "noise": timed[name].spread, **memory[name]}
        if "lora" in timed:
            row["seconds_of_lora"] = timed["lora"].times_faster_than(timed[name])
            for what in ("step_bytes", "peak_bytes"):
                row[f"{what}_of_lora"] = memory[name][what] / memory["lora"][what]
        rows.append(row)
    return rows


def _ready(
    side: Side, device: torch.device, arguments: argparse.Namespace, modes: ExitStack
) -> Callable[[], None]:
    """Return a function that makes a step on `side`. Its network is in training mode until `modes` closes."""
    network, learner = side.base.network, side.base.learner
    recipe = recipe_for(sum(parameter.numel() for parameter in network.parameters()))
    modes.enter_context(learner.training(recipe))
    if arguments.recompute:
        modes.enter_context(recomputed_layers(learner.layers()))
    optimizer = torch.optim.AdamW(side.parameters, lr=recipe.lr)
    batch = _batch(side.base, arguments.rows)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        mixed = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
        with side.around():
            with mixed:
                loss, _ = learner.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(side.parameters, recipe.grad_clip)
        optimizer.step()

    return step


def _side(name: str, shape: str, device: torch.device, p: float) -> Side:
    if name in FORMS:
        measured = subject(shape, p=p, device=device)
        sigmas = {layer: torch.linspace(2.0, 1.0, k, dtype=torch.float64) for layer, k in measured.k.items()}
        adapter = Adapter(DEFAULT_MAP, sigmas).to(device)
        around = partial(_training, adapter, measured.adapted, FORMS[name])
        return Side(measured.base, list(adapter.parameters()), around)
    base = random_base(SHAPES[shape], device=device)
    if name == "lora":
        layers = list(match_layers(base.network))
        inject_adapter_in_model(LoraConfig(r=RANK, target_modules=layers), base.network)
    else:  # one bias at the network's bottom, so that gradients pass through all of it, as for an adapter
        bias = next(iter(match_layers(base.network).values())).bias
        assert bias is not None
        bias.requires_grad_(True)
    return Side(base, [p for p in base.network.parameters() if p.requires_grad], nullcontext)


@contextmanager
def _training(adapter: Adapter, adapted: AdaptedModel, form: StepForm | Literal["auto"]) -> Iterator[None]:
    """Do the same as training.methods.method.SsvdMethod.step, in a given form."""
    cores = adapter.cores()
    leaves = {name: core.detach().requires_grad_() for name, core in cores.items()}
    with adapted.using(leaves, form):
        yield
    torch.autograd.backward(list(cores.values()), [leaf.grad for leaf in leaves.values()])


def _batch(base: BaseModel, rows: int) -> dict[str, Tensor]:
    """Return noise that fills the window, with as much text as speech of that length has."""
    generator = torch.Generator().manual_seed(rows)
    window, tokens, device = base.window, base.tokens, base.device
    said = max(2, round(TOKENS_PER_SECOND * window.duration_s))
    words = torch.randint(tokens.last_time + 1, len(tokens) - 3, (rows, said), generator=generator)
    # Without <sos>, which the network adds.
    prompt = torch.tensor(tokens.prompt_ids(Prompt())[1:]).expand(rows, -1)
    text = torch.cat([prompt, words], dim=1)
    batch = {
        "speech": 0.1 * torch.randn(rows, window.samples, generator=generator),
        "text": text,
        "text_prev": torch.full((rows, 1), tokens.no_previous or 0),
        "text_ctc": words,
    }
    lengths = {f"{name}_lengths": torch.full((rows,), each.shape[1]) for name, each in batch.items()}
    return {name: each.to(device) for name, each in {**batch, **lengths}.items()}


def _memory_elsewhere(shape: str, side: str, arguments: argparse.Namespace) -> dict[str, int]:
    """Run `_memory` in a separate process, in which freed blocks go back to the system at once."""
    words = ["--only", side, "--shapes", shape, "--rows", str(arguments.rows), "--p", str(arguments.p)]
    words += ["--device", arguments.device, *(["--recompute"] if arguments.recompute else [])]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train_step", *words],
        env={**os.environ, **RETURNED},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _memory(shape: str, name: str, device: torch.device, arguments: argparse.Namespace) -> dict[str, int]:
    """Return the bytes held before the first step, and how far two steps rise above them."""
    side = _side(name, shape, device, arguments.p)
    held = [*side.base.network.parameters(), *side.base.network.buffers(), *side.parameters]
    held_bytes = sum(each.numel() * each.element_size() for each in {id(t): t for t in held}.values())
    with ExitStack() as modes:
        step = _ready(side, device, arguments, modes)
        before = mark(device)
        step()
        step()
    step_bytes = peak(device) - before
    return {"held_bytes": held_bytes, "step_bytes": step_bytes, "peak_bytes": held_bytes + step_bytes}


if __name__ == "__main__":
    main()
