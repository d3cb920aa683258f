"""Time of batches of mixed domains here and with PEFT's LoRA of rank 16, on one base, batch and engine.

PEFT has two ways. `adapter_names` takes one adapter per row and loops over the adapters in every layer.
`hotswap` takes one domain after the other: it swaps the weights into the resident adapter, merges, runs the
domain's rows, and unmerges. Both sides use this project's cached decoder, which PEFT's users do not have, so
only the adapters are compared. `base_faster_...` is the bare base on the same batch, the upper limit for any
way of serving domains. `decoding_...` leaves the encoder out.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from peft.utils.hotswap import hotswap_adapter_from_state_dict
from torch import Tensor

from benchmarks.report import choose_shapes, parser, side_by_side, version_of, write
from benchmarks.subject import Subject, subject, working_dtype
from benchmarks.variety import TOKENS_PER_SECOND, Case
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.mixing.mixture import CoreStack

RANK = 16
WAYS = ("adapter_names", "hotswap")
RESIDENT = "resident"  # the adapter that hot-swap writes into


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    for shape in arguments.shapes:
        measured = subject(shape, p=arguments.p, device=device, dtype=working_dtype(device))
        theirs = LoraSide(measured, max(arguments.domains))
        cases = [Case(arguments.rows, domains, "uniform") for domains in arguments.domains]
        rows = (row for case in cases for row in _compare(measured, theirs, case, arguments))
        left_out = "" if len(arguments.ways) == len(WAYS) else "-" + "-".join(arguments.ways)
        write(
            f"peft_lora-{shape}{left_out}", rows, device=device, out=arguments.out, quick=arguments.quick,
            p=arguments.p, lora_rank=RANK, peft=version_of("peft"), dtype=str(working_dtype(device)),
            repeats=arguments.repeats, clock=arguments.clock, tokens_per_second=TOKENS_PER_SECOND,
        )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", default=None, help="default nano and 0.1b; on a GPU 1b")
    made.add_argument("--rows", type=int, default=16, help="rows a batch")
    made.add_argument("--domains", type=int, nargs="+", default=None)
    made.add_argument("--p", type=float, default=0.4, help="k = p min(m, n) on our side")
    made.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="of PEFT, to compare with")
    made.add_argument("--repeats", type=int, default=None)
    arguments = made.parse_args(argv)
    gpu, quick = resolve_device(arguments.device).type == "cuda", arguments.quick
    choose_shapes(arguments, gpu=gpu, quick="tiny")
    arguments.domains = arguments.domains or ([4] if quick else [1, 4, 16])
    arguments.repeats = arguments.repeats or (3 if quick or not gpu else 7)
    return arguments


class LoraSide:
    """A copy of the subject's base under PEFT, with `domains` adapters of random weights."""

    def __init__(self, measured: Subject, domains: int) -> None:
        base = copy.copy(measured.base)
        base.network = copy.deepcopy(measured.base.network)
        layers = list(measured.adapted.layers)
        for name in layers:  # put the plain linears back
            parent, _, child = name.rpartition(".")
            setattr(base.network.get_submodule(parent), child, base.network.get_submodule(name).linear)
        self._config = LoraConfig(r=RANK, target_modules=layers, init_lora_weights=False, use_rslora=False)
        self._model: PeftModel = get_peft_model(  # in the base's dtype, as ours
            base.network, self._config, adapter_name=RESIDENT, autocast_adapter_dtype=False
        )
        names = [_name(slot) for slot in range(1, domains + 1)]
        for name in names:
            self._model.add_adapter(name, self._config, autocast_adapter_dtype=False)
        self._model.eval().to(base.device)
        self._states = {name: self._state(name) for name in names}
        # The same engine as `measured`, with PEFT's layers in the network instead of ours.
        self.subject = replace(measured, base=base)

    def _state(self, name: str) -> dict[str, Tensor]:
        """Return the adapter's weights under the resident adapter's keys, as hot-swapping needs them."""
        state = get_peft_model_state_dict(self._model, adapter_name=name)
        return {
            key.replace(".weight", f".{RESIDENT}.weight"): tensor.clone() for key, tensor in state.items()
        }

    def mixed(self, slots: Sequence[int], run: Callable[[], Tensor]) -> None:
        """Run the batch at once, with one adapter per row."""
        with self._model._enable_peft_forward_hooks(adapter_names=[_name(slot) for slot in slots]):
            run()

    def swapped(self, slots: Sequence[int], run: Callable[[list[int]], Tensor]) -> None:
        """Swap, merge, run the rows, and unmerge, one domain after the other."""
        for slot in sorted(set(slots)):
            with self._merged(_name(slot)):
                run([row for row, its in enumerate(slots) if its == slot])

    @contextmanager
    def _merged(self, name: str) -> Iterator[None]:
        hotswap_adapter_from_state_dict(self._model, self._states[name], RESIDENT, self._config)
        self._model.set_adapter(RESIDENT)
        self._model.merge_adapter([RESIDENT])
        try:
            yield
        finally:
            self._model.unmerge_adapter()


def _name(slot: int) -> str:
    """Return an adapter's name. PEFT takes all weights whose key contains it, so "1" would be ambiguous."""
    return f"domain{slot:04d}"


def _compare(
    measured: Subject, theirs: LoraSide, case: Case, arguments: argparse.Namespace
) -> Iterator[dict[str, object]]:
    stack = measured.stack(case.domains)
    waves, slots = measured.waves(case.rows), case.draw(0)
    steps = max(2, round(TOKENS_PER_SECOND * measured.base.window.duration_s))

    def run(side: Subject, rows: Sequence[int]) -> Tensor:
        return side.decode(side.encode([waves[row] for row in rows]), steps)

    def ours(slots: Sequence[int]) -> None:
        with measured.adapted.mixing(stack, slots):
            run(measured, range(case.rows))

    def of_peft(run: Callable[[Sequence[int]], Tensor]) -> dict[str, Callable[[], None]]:
        ways = {
            "adapter_names": partial(theirs.mixed, slots, partial(run, range(case.rows))),
            "hotswap": partial(theirs.swapped, slots, run),
        }
        return {way: ways[way] for way in arguments.ways}

    sides: dict[str, Callable[[], object]] = {
        "base": partial(ours, [0] * case.rows),
        "ours": partial(ours, slots),
        **of_peft(partial(run, theirs.subject)),
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's notices about merging
        whole = side_by_side(sides, arguments.repeats, clock=arguments.clock)
        encoded = measured.encode(waves)

        def decode_theirs(rows: Sequence[int]) -> Tensor:
            return theirs.subject.decode(encoded[list(rows)], steps)

        decoding = side_by_side(
            {
                "ours": partial(_decode_mixed, measured, stack, slots, encoded, steps),
                **of_peft(decode_theirs),
            },
            arguments.repeats,
            clock=arguments.clock,
        )
    yield {
        "shape": measured.shape, "rows": case.rows, "domains": case.domains,
        **{f"{side}_s": timing.median_s for side, timing in whole.items()},
        **{f"faster_than_{way}": whole["ours"].times_faster_than(whole[way]) for way in arguments.ways},
        **{f"base_faster_than_{way}": whole["base"].times_faster_than(whole[way]) for way in arguments.ways},
        **{
            f"decoding_faster_than_{way}": decoding["ours"].times_faster_than(decoding[way])
            for way in arguments.ways
        },
    }  # fmt: skip


def _decode_mixed(
    measured: Subject, stack: CoreStack, slots: Sequence[int], encoded: Tensor, steps: int
) -> None:
    with measured.adapted.mixing(stack, slots):
        measured.decode(encoded, steps)


if __name__ == "__main__":
    main()
