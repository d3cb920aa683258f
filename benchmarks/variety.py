"""Throughput of batches of many domains over that of the bare base, in the same engine.

A batch of rows is encoded and decoded for a fixed number of greedy steps, in turns as the base (slot 0, the
plain layers) and with rows of many domains. `ratio` is mixed over base throughput; 1 means no cost. `noise`
is (slowest - fastest) / median of the noisiest timing. `..._operations_ratio` and `..._bytes_ratio` are the
ratios to expect by counting, in the chosen form: operations of the whole model, and bytes that its adapted
linears move. `uneven_ratio` is for decoding rows that end one after the other, as rows of real speech do.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import Timing, choose_shapes, parser, side_by_side, write
from benchmarks.subject import Subject, subject, working_dtype
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.layer.linear import AdaptedLinear
from ssvd_asr.layer.product_cost import Cost
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.mixing.cost import plain_cost
from ssvd_asr.mixing.mixture import CoreStack, MixedLayer

DOMAINS = (1, 4, 16, 64, 256)
TOKENS_PER_SECOND = 2.0  # of speech, as a decoder writes for a full window
ZIPF = 1.0  # the i-th domain is requested 1 / i^ZIPF times as often as the first
Calls = dict[str, dict[int, int]]  # layer -> vectors per row -> calls


@dataclass(frozen=True)
class Case:
    """A batch of `rows` rows in `domains` domains, spread `uniform` or `zipf` (a few have most rows)."""

    rows: int
    domains: int
    spread: str

    def draw(self, seed: int) -> list[int]:
        """Draw a slot for each row, sorted as the scheduler passes them."""
        generator = np.random.default_rng(seed)
        if self.spread == "zipf":
            weights = 1.0 / np.arange(1, self.domains + 1) ** ZIPF
            drawn = generator.choice(self.domains, self.rows, p=weights / weights.sum()) + 1
        else:
            drawn = generator.permutation(self.domains)[np.arange(self.rows) % self.domains] + 1
        return sorted(int(slot) for slot in drawn)


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    for shape in arguments.shapes:
        measured = subject(shape, p=arguments.p, device=device, dtype=working_dtype(device))
        name = f"variety-{shape}"
        if arguments.rows:  # a file beside that of the shape's default batch
            name += "-rows" + "-".join(map(str, arguments.rows))
        if arguments.rank:
            name += f"-rank{arguments.rank}"
        write(
            name, _measure(measured, arguments), device=device, out=arguments.out,
            quick=arguments.quick, shape=shape, p=arguments.p, zipf=ZIPF, dtype=str(working_dtype(device)),
            window_s=measured.base.window.duration_s, repeats=arguments.repeats, clock=arguments.clock,
            compressed_rank=arguments.rank, tokens_per_second=TOKENS_PER_SECOND,
        )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", default=None, help="default nano and 0.1b; on a GPU 1b")
    made.add_argument("--rows", type=int, nargs="+", default=None, help="rows a batch; default by shape")
    made.add_argument("--domains", type=int, nargs="+", default=None)
    made.add_argument("--p", type=float, default=0.4, help="k = p min(m, n)")
    made.add_argument("--rank", type=int, default=None, help="compress the cores to this rank (not exact)")
    made.add_argument("--form", default="auto", help="auto, shared, grouped or merged")
    made.add_argument("--repeats", type=int, default=None)
    arguments = made.parse_args(argv)
    gpu = resolve_device(arguments.device).type == "cuda"
    quick = arguments.quick
    choose_shapes(arguments, gpu=gpu, quick="tiny")
    arguments.domains = arguments.domains or ([1, 4, 16] if quick else list(DOMAINS))
    arguments.repeats = arguments.repeats or (3 if quick else 7 if gpu else 5)
    return arguments


def _measure(measured: Subject, arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    gpu = measured.base.device.type == "cuda"
    default = [64] if gpu else [8] if measured.shape == "0.1b" else [16] if arguments.quick else [64]
    steps = max(2, round(TOKENS_PER_SECOND * measured.base.window.duration_s))
    lossy = Compression(arguments.rank, 1.0) if arguments.rank else None
    stack = measured.stack(max(arguments.domains), compression=lossy)
    for rows in arguments.rows or default:
        waves = measured.waves(rows)
        with measured.adapted.mixing(stack, [0] * rows):
            encoded = measured.encode(waves)
        operations = _operations(measured, steps)
        for domains in arguments.domains:
            for spread in ("uniform", "zipf") if domains > 1 else ("uniform",):
                case = Case(rows, domains, spread)
                parts = {
                    "encode": partial(measured.encode, waves),
                    "decode": partial(measured.decode, encoded, steps),
                }
                uneven = partial(measured.decode_uneven, encoded, steps)
                row = _row(measured, stack, case, parts, uneven, operations, arguments)
                print(f"{measured.shape}: {case}: {row['ratio']:.3f}", file=sys.stderr, flush=True)
                yield row


def _row(
    measured: Subject,
    stack: CoreStack,
    case: Case,
    parts: Mapping[str, Callable[[], Tensor]],
    uneven: Callable[[], object],
    operations: dict[str, float],
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """Time the case against the base, part by part."""
    # On a GPU each draw runs once before it is timed, because a server has seen its kinds of batches before.
    gpu = measured.base.device.type == "cuda"
    draws = itertools.cycle(range(arguments.repeats)) if gpu else itertools.count()

    def mixed(run: Callable[[], object]) -> None:
        with measured.adapted.mixing(stack, case.draw(next(draws)), arguments.form):
            run()

    def base(run: Callable[[], object]) -> None:
        with measured.adapted.mixing(stack, [0] * case.rows):
            run()

    timed: dict[str, dict[str, Timing]] = {
        part: side_by_side(
            {"base": partial(base, run), "mixed": partial(mixed, run)},
            arguments.repeats,
            clock=arguments.clock,
            warm_up=arguments.repeats if gpu else 1,
        )
        for part, run in {**parts, "uneven": uneven}.items()
    }
    seconds = {side: sum(timed[part][side].median_s for part in parts) for side in ("base", "mixed")}
    found: dict[str, object] = {
        "rows": case.rows, "domains": case.domains, "spread": case.spread,
        "distinct": len(set(case.draw(0))),
        "base_audio_s_per_s": case.rows * measured.base.window.duration_s / seconds["base"],
        "ratio": seconds["base"] / seconds["mixed"],
        "noise": max(each.spread for part in timed.values() for each in part.values()),
    }  # fmt: skip
    for part in timed:
        found[f"{part}_ratio"] = timed[part]["mixed"].times_faster_than(timed[part]["base"])
    for part in parts:
        plain, chosen = _counted(measured, stack, case, parts[part], arguments.form)
        rest = operations[part] * case.rows - plain.operations
        found[f"{part}_operations_ratio"] = (plain.operations + rest) / (chosen.operations + rest)
        found[f"{part}_bytes_ratio"] = plain.bytes / chosen.bytes
    return found


def _operations(measured: Subject, steps: int) -> dict[str, float]:
    """Return the operations of the bare base for one row, by part: matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        encoded = measured.encode(measured.waves(1))
    with FlopCounterMode(display=False) as decoding:
        measured.decode(encoded, steps)
    return {"encode": float(counter.get_total_flops()), "decode": float(decoding.get_total_flops())}


def _counted(
    measured: Subject, stack: CoreStack, case: Case, run: Callable[[], Tensor], form: str
) -> tuple[Cost, Cost]:
    """Return the cost of the adapted linears in the bare base, and in the chosen form by the cost model."""
    calls: Calls = {}
    hooks = [
        layer.register_forward_pre_hook(_counter(calls.setdefault(name, {})))
        for name, layer in measured.adapted.layers.items()
    ]
    try:
        with measured.adapted.mixing(stack, [0] * case.rows):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    plain = chosen = Cost()
    with measured.adapted.mixing(stack, case.draw(0)):
        for name, counts in calls.items():
            mixed = measured.adapted.layers[name].mixed
            assert isinstance(mixed, MixedLayer)
            for tokens, count in counts.items():
                choice = mixed.consider(tokens, count)
                cost = choice.cost if form == "auto" else dict(choice.forms)[form]  # type: ignore[index]
                plain += plain_cost(choice.work, choice.speed) * count
                chosen += cost * count
    return plain, chosen


def _counter(counts: dict[int, int]) -> Callable[[AdaptedLinear, tuple[Tensor, ...]], None]:
    def count(_: AdaptedLinear, given: tuple[Tensor, ...]) -> None:
        tokens = given[0].numel() // (given[0].shape[0] * given[0].shape[-1])
        counts[tokens] = counts.get(tokens, 0) + 1

    return count


if __name__ == "__main__":
    main()
