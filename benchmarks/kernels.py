"""Kernels of one decoder step and of one encoding, and the share of the time that the device is busy.

`busy` is the device's time in kernels over the elapsed time. For the rest, the device waits for the host. A
step is measured recorded and replayed (`static`, ssvd_asr.base.owsm.static_decoder), and with its kernels
launched one by one. On a CPU, operators are counted instead of kernels.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from benchmarks.report import choose_shapes, median_of, parser, write
from benchmarks.subject import Subject, subject, working_dtype
from benchmarks.variety import Case
from ssvd_asr.base.owsm.static_decoder import open_decoder
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.device import DTYPES, forbid_tf32, resolve_device, resolve_dtype

STEPS = 8  # profiled together
LONGEST = 6  # kernels named in a row, those that take most time


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write a table for each shape."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    dtype = working_dtype(device) if arguments.dtype == "auto" else resolve_dtype(arguments.dtype, device)
    for shape in arguments.shapes:
        measured = subject(shape, p=arguments.p, device=device, dtype=dtype)
        write(
            f"kernels-{shape}", _measure(measured, arguments), device=device, out=arguments.out,
            quick=arguments.quick, shape=shape, p=arguments.p, dtype=str(dtype), repeats=arguments.repeats,
            steps=STEPS, clock=arguments.clock,
        )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", default=None, help="default nano and 0.1b; on a GPU 1b")
    made.add_argument("--rows", type=int, nargs="+", default=None, help="default 1 and 32, quick 4")
    made.add_argument("--domains", type=int, nargs="+", default=None, help="default 0 (the base), 4 and 32")
    made.add_argument("--dtype", choices=DTYPES, default="auto", help="auto: bfloat16 on a GPU that has it")
    made.add_argument("--p", type=float, default=0.4, help="k = p min(m, n)")
    made.add_argument("--repeats", type=int, default=5)
    arguments = made.parse_args(argv)
    gpu, quick = resolve_device(arguments.device).type == "cuda", arguments.quick
    choose_shapes(arguments, gpu=gpu, quick="tiny")
    arguments.rows = arguments.rows or ([4] if quick else [1, 32])
    arguments.domains = arguments.domains or ([0, 2] if quick else [0, 4, 32])
    return arguments


def _measure(measured: Subject, arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    stack = measured.stack(max(1, *arguments.domains))
    for rows in arguments.rows:
        waves = measured.waves(rows)
        for domains in arguments.domains:
            if domains > rows:
                continue
            slots = Case(rows, domains, "uniform").draw(0) if domains else [0] * rows
            about = {"rows": rows, "domains": domains}
            with measured.adapted.mixing(stack, slots):
                encoded = measured.encode(waves)
                found = _profiled(lambda waves=waves: measured.encode(waves), arguments)  # type: ignore[misc]
                yield {"what": "encode", **about, **found}
                for static in (False, True):
                    what = "step, static" if static else "step, launched one by one"
                    yield {"what": what, **about, **_step(measured, encoded, static, arguments)}


def _step(
    measured: Subject, encoded: torch.Tensor, static: bool, arguments: argparse.Namespace
) -> dict[str, object]:
    """Profile STEPS steps after the prompt together, and return the figures of one."""
    prompt = measured.base.tokens.prompt_ids(Prompt())
    with torch.no_grad(), open_decoder(measured.base.network.decoder, encoded, static=static) as decoder:
        tokens = decoder.read([prompt] * len(encoded)).argmax(dim=-1, keepdim=True)

        def steps() -> None:
            for _ in range(STEPS):
                decoder.advance(tokens)

        return _profiled(steps, arguments, STEPS)


def _profiled(run: Callable[[], object], arguments: argparse.Namespace, parts: int = 1) -> dict[str, object]:
    """Return time, kernels and the longest kernels for one of `parts` equal parts of a run."""
    cuda = torch.cuda.is_available() and arguments.device != "cpu"
    seconds = median_of(run, arguments.repeats, clock=arguments.clock) / parts
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as found:
        run()
        if cuda:
            torch.cuda.synchronize()
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    events = [event for event in found.events() or () if event.device_type == kind]
    spent: Counter[str] = Counter()
    for event in events:
        spent[event.name] += event.device_time if cuda else event.self_cpu_time_total
    busy_s = sum(spent.values()) / 1e6 / parts
    return {
        "ms": 1000 * seconds,
        "kernels": len(events) / parts,
        "busy_ms": 1000 * busy_s,
        "busy": min(1.0, busy_s / seconds),
        "longest": [
            f"{name[:60]}: {time / 1000 / parts:.3f} ms" for name, time in spent.most_common(LONGEST)
        ],
    }


if __name__ == "__main__":
    main()
