"""Time of decoding here and in ESPnet 202611 on the same weights: greedy, beam 5, and beam 5 with CTC.

`batch` is ESPnet's batch_decode, one search over all utterances. `call` is its __call__, one utterance after
the other, measured on one utterance and multiplied by the rows. A step is one token of every row. The first
step is left out, because it also reads the prompt and projects the encoder output. All sides write equally
many tokens for the same encoder output; `same_tokens` is the share of rows with the same tokens.

Whole utterances are the encoder, the first step and the other steps, for as many tokens as speech of the
window has. They are measured if all sides together take at most --budget-s, else summed from the parts above.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.espnet_side import EspnetSide, espnet_base
from benchmarks.report import Timing, choose_shapes, parser, side_by_side, write
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.owsm.shapes import SHAPES, random_base
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import FloatArray
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.device import DTYPES, forbid_tf32, resolve_device, resolve_dtype

TOKENS_PER_SECOND = 2.0  # of speech, as a decoder writes for a full window
NEVER = -1e4  # bias of tokens that the models must not write
SHARPER = 3.0  # scale of the random weights, so that rounding decides less often between tokens
CLEAR = 2.0  # times the first step's variation; if the other steps take less, they are not reported
CTC_LIMIT_BYTES = 8 * 2**30  # above it, ESPnet's CTC scores are not tried

# Maps encoder output (B, T, d) and a number of tokens to write to the tokens of each row.
Side = Callable[[Tensor, int], list[tuple[int, ...]]]
Sides = dict[str, Side]


@dataclass(frozen=True)
class Mode:
    """A search and its options."""

    name: str
    beam_size: int
    ctc_weight: float


MODES = {
    mode.name: mode for mode in (Mode("greedy", 1, 0.0), Mode("beam5", 5, 0.0), Mode("beam5-ctc", 5, 0.3))
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the tables."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    dtype = resolve_dtype(arguments.dtype, device)
    forbid_tf32()
    for shape in arguments.shapes:
        base = random_base(SHAPES[shape], device=device, dtype=dtype)
        _make_talkative(base)
        rows = (row for batch in arguments.batches for row in _measure(base, batch, arguments))
        name = f"decode-{shape}" if dtype == torch.float32 else f"decode-half-{shape}"
        write(
            name, rows, device=device, out=arguments.out, quick=arguments.quick, shape=shape,
            window_s=base.window.duration_s, dtype=str(dtype), steps=arguments.steps,
            repeats=arguments.repeats, clock=arguments.clock, tokens_per_second=TOKENS_PER_SECOND,
        )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", choices=SHAPES, help="default nano and 0.1b; on a GPU 1b")
    made.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    made.add_argument("--batches", type=int, nargs="+", help="utterances together; default 1 8 32")
    made.add_argument("--dtype", choices=DTYPES, default="float32")
    made.add_argument("--steps", type=int, help="timed after the first; default 16, on a CPU 4")
    made.add_argument("--repeats", type=int, help="default 5, on a CPU 3")
    made.add_argument("--budget-s", type=float, help="for ESPnet's whole utterances; default 60, quick 0")
    arguments = made.parse_args(argv)
    gpu, quick = resolve_device(arguments.device).type == "cuda", arguments.quick
    choose_shapes(arguments, gpu=gpu, quick="tiny")
    arguments.batches = arguments.batches or ([1, 8] if quick else [1, 8, 32])
    arguments.steps = arguments.steps or (16 if gpu else 4)
    arguments.repeats = arguments.repeats or (5 if gpu and not quick else 3)
    if arguments.budget_s is None:
        arguments.budget_s = 0.0 if quick else 60.0
    return arguments


def _make_talkative(base: BaseModel) -> None:
    """Make the random decoder prefer some tokens, never end, and never write what the grammar forbids."""
    tokens, decoder = base.tokens, base.network.decoder
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(2 * SHARPER if "src_attn" in name else SHARPER)
        bias = decoder.output_layer.bias
        bias[[tokens.eos, tokens.blank]] = NEVER
        bias[tokens.first_time : tokens.last_time + 1] = NEVER


@dataclass(frozen=True)
class _Steps:
    """Timings of the first step alone and of all steps."""

    first: Timing
    all: Timing
    extra: int  # steps after the first

    @property
    def clear(self) -> bool:
        """Whether the steps after the first take more than CLEAR times as long as the first one varies."""
        varies = max(self.first.seconds) - min(self.first.seconds)
        return self.all.median_s - self.first.median_s > CLEAR * varies

    @property
    def each(self) -> Timing:
        """Timing of one step after the first."""
        pairs = zip(self.all.seconds, self.first.seconds, strict=True)
        return Timing(tuple(max(whole - first, 1e-9) / self.extra for whole, first in pairs))

    def of(self, tokens: int) -> float:
        """Return the seconds for so many tokens."""
        return self.first.median_s + (tokens - 1) * self.each.median_s


def _measure(base: BaseModel, rows: int, arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Measure all modes on one batch."""
    generator = np.random.default_rng(rows)
    shape = (rows, base.window.samples)
    waves = list(0.1 * generator.standard_normal(shape, dtype=np.float32))
    encoded = base.encode(waves)
    espnet = espnet_base(base)
    encoding = {
        "ours": partial(base.encode, waves),
        "batch": partial(espnet.encode, waves),
        "call": partial(espnet.encode, waves[:1]),
    }
    encoded_in = side_by_side(encoding, **_rounds(base, arguments), clock=arguments.clock)
    tokens = round(TOKENS_PER_SECOND * base.window.duration_s)
    for mode in (MODES[name] for name in arguments.modes):
        theirs = EspnetSide(espnet, mode.beam_size, mode.ctc_weight)
        sides: Sides = {"ours": partial(_ours, base, mode), "batch": theirs.batch, "call": theirs.call}
        if theirs.ctc_bytes(rows, encoded.size(1)) > CTC_LIMIT_BYTES:
            print(f"{rows} rows {mode.name}: ESPnet's CTC scores exceed {CTC_LIMIT_BYTES} B", file=sys.stderr)
            del sides["batch"]
        steps = _steps(sides, encoded, arguments)
        parts = {
            name: timed.of(tokens) + encoded_in[name].median_s
            for name, timed in steps.items()
            if name != "call"
        }
        parts["call"] = rows * (steps["call"].of(tokens) + encoded_in["call"].median_s)
        yield {
            **_step_row(rows, mode, steps),
            "same_tokens": _share_of_same(sides, encoded, 1 + arguments.steps),
            **_whole(parts, sides, {"ours": base, "batch": espnet, "call": espnet}, waves, tokens, arguments),
        }


def _rounds(base: BaseModel, arguments: argparse.Namespace) -> dict[str, int]:
    """Return the rounds of long runs. A CPU compiles and tunes nothing at a first call, so it needs one."""
    gpu = base.device.type == "cuda"
    return {"repeats": arguments.repeats if gpu else 1, "warm_up": 1 if gpu else 0}


def _share_of_same(sides: Sides, encoded: Tensor, tokens: int) -> float:
    """Return the share of rows with the same tokens on our side and on ESPnet's."""
    theirs = sides.get("batch", sides["call"])
    pairs = zip(sides["ours"](encoded, tokens), theirs(encoded, tokens), strict=True)
    return sum(ours == its for ours, its in pairs) / len(encoded)


def _ours(base: BaseModel, mode: Mode, encoded: Tensor, tokens: int) -> list[tuple[int, ...]]:
    prompts = [Prompt()] * len(encoded)
    if mode.beam_size == 1:
        found = greedy(base, encoded, prompts, tokens)
    else:
        found = beam(
            base, encoded, prompts, beam_size=mode.beam_size, ctc_weight=mode.ctc_weight, max_tokens=tokens
        )
    return [hypothesis.token_ids for hypothesis in found]


def _steps(sides: Sides, encoded: Tensor, arguments: argparse.Namespace) -> dict[str, _Steps]:
    """Time the first step and all steps of every side in turns, `call` on one utterance."""
    runs: dict[str, Callable[[], object]] = {}
    for name, run in sides.items():
        heard = encoded[:1] if name == "call" else encoded
        runs[f"{name} first"] = partial(run, heard, 1)
        runs[f"{name} all"] = partial(run, heard, 1 + arguments.steps)
    timed = side_by_side(runs, arguments.repeats, clock=arguments.clock)
    return {name: _Steps(timed[f"{name} first"], timed[f"{name} all"], arguments.steps) for name in sides}


def _step_row(rows: int, mode: Mode, steps: dict[str, _Steps]) -> dict[str, object]:
    ours, call = steps["ours"], steps["call"]
    call_each = Timing(tuple(rows * each for each in call.each.seconds))
    row: dict[str, object] = {
        "mode": mode.name, "rows": rows, "first_step_s": ours.first.median_s,
        "noise": max(timed.all.spread for timed in steps.values()),
    }  # fmt: skip
    if not ours.clear:
        print(f"{rows} rows {mode.name}: the first step varies too much to tell the others", file=sys.stderr)
        return row
    row["step_s"] = ours.each.median_s
    if "batch" in steps:
        row["batch_step_s"] = steps["batch"].each.median_s
        row["faster_than_batch"] = ours.each.times_faster_than(steps["batch"].each)
    row["call_step_s"] = call_each.median_s
    row["faster_than_call"] = ours.each.times_faster_than(call_each)
    return row


def _whole(
    parts: dict[str, float],
    sides: Sides,
    bases: Mapping[str, BaseModel],
    waves: Sequence[FloatArray],
    tokens: int,
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """Return the seconds of whole utterances. `parts` are the seconds that each side is expected to take."""
    measured = sum(parts.values()) <= arguments.budget_s
    if measured:
        runs = {
            name: partial(_decode_whole, run, name, bases[name], waves, tokens) for name, run in sides.items()
        }
        timed = side_by_side(runs, **_rounds(bases["ours"], arguments), clock=arguments.clock)
        parts = {name: each.median_s for name, each in timed.items()}
    others = [seconds for name, seconds in parts.items() if name != "ours"]
    return {
        "whole": "measured" if measured else "from parts",
        **{f"whole_{name}_s": seconds for name, seconds in parts.items()},
        "whole_faster_than_best": min(others) / parts["ours"],
    }


def _decode_whole(run: Side, name: str, base: BaseModel, waves: Sequence[FloatArray], tokens: int) -> None:
    """Encode and decode all waves at once or, for `call`, one after the other."""
    for group in [[wave] for wave in waves] if name == "call" else [waves]:
        run(base.encode(group), tokens)


if __name__ == "__main__":
    main()
