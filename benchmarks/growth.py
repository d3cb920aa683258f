"""Growth of the cost with the batch, the window and the number of domains: seconds, and the log-log slope.

A slope of 1 means proportional, below 1 cheaper than that, 0 free. The cost of the encoder's self-attention
grows with the square of the window. More domains add numbers to read, but no computation.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.report import median_of, parser, wait_for_turn, write
from benchmarks.subject import Subject, subject, working_dtype
from benchmarks.variety import TOKENS_PER_SECOND, Case
from ssvd_asr.device import forbid_tf32, resolve_device
from ssvd_asr.mixing.mixture import CoreStack

Row = dict[str, object]


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write the table."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    measured = subject(arguments.shape, p=arguments.p, device=device, dtype=working_dtype(device))
    wait_for_turn()
    rows = [*_by_batch(measured, arguments), *_by_domains(measured, arguments)]
    del measured
    for window_s in arguments.windows:
        rows.append(_at_window(window_s, arguments))
    slopes = {
        f"{part} by {axis}": slope_of([row for row in rows if row["axis"] == axis], part)
        for axis in ("batch", "domains", "window_s")
        for part in ("encode_s", "decode_s")
    }
    for name, slope in slopes.items():
        print(f"slope of {name}: {slope:.2f}")
    write(
        f"growth-{arguments.shape}", rows, device=device, out=arguments.out, quick=arguments.quick,
        shape=arguments.shape, p=arguments.p, dtype=str(working_dtype(device)),
        repeats=arguments.repeats, clock=arguments.clock, log_log_slope=slopes,
        tokens_per_second=TOKENS_PER_SECOND,
    )  # fmt: skip


def slope_of(rows: Sequence[Row], part: str) -> float:
    """Return the least-squares slope of log(seconds) on log(value)."""
    values, seconds = ([math.log(float(str(row[name]))) for row in rows] for name in ("value", part))
    return statistics.linear_regression(values, seconds).slope


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--shape", default=None, help="default nano; on a GPU 1b")
    made.add_argument("--batches", type=int, nargs="+", default=None)
    made.add_argument("--windows", type=float, nargs="+", default=None, help="seconds of speech")
    made.add_argument("--domains", type=int, nargs="+", default=None)
    made.add_argument("--p", type=float, default=0.4, help="k = p min(m, n)")
    made.add_argument("--repeats", type=int, default=None)
    arguments = made.parse_args(argv)
    gpu, quick = resolve_device(arguments.device).type == "cuda", arguments.quick
    arguments.shape = arguments.shape or ("tiny" if quick else "1b" if gpu else "nano")
    arguments.batches = arguments.batches or ([1, 4, 8] if quick else [1, 2, 4, 8, 16, 32, 64])
    arguments.windows = arguments.windows or ([1.0, 2.0, 3.0] if quick else [2.0, 4.0, 8.0, 15.0, 30.0])
    arguments.domains = arguments.domains or ([1, 4, 8] if quick else [1, 2, 4, 8, 16, 32, 64])
    arguments.repeats = arguments.repeats or (3 if quick else 7)
    return arguments


def _by_batch(measured: Subject, arguments: argparse.Namespace) -> Iterator[Row]:
    """Measure growing batches in which every row has its own domain, up to 16 domains."""
    stack = measured.stack(16)
    for rows in arguments.batches:
        yield _timed(measured, stack, Case(rows, min(rows, 16), "uniform"), "batch", rows, arguments)


def _by_domains(measured: Subject, arguments: argparse.Namespace) -> Iterator[Row]:
    """Measure the same number of rows in growing numbers of domains."""
    rows = max(arguments.domains)
    stack = measured.stack(rows)
    for domains in arguments.domains:
        yield _timed(measured, stack, Case(rows, domains, "uniform"), "domains", domains, arguments)


def _at_window(window_s: float, arguments: argparse.Namespace) -> Row:
    """Measure four rows of four domains in a window of this length."""
    device = resolve_device(arguments.device)
    measured = subject(
        arguments.shape, p=arguments.p, device=device, dtype=working_dtype(device), window_s=window_s
    )
    case = Case(4, 4, "uniform")
    return _timed(measured, measured.stack(4), case, "window_s", window_s, arguments)


def _timed(
    measured: Subject, stack: CoreStack, case: Case, axis: str, value: float, arguments: argparse.Namespace
) -> Row:
    waves = measured.waves(case.rows)
    window_s = measured.base.window.duration_s
    with measured.adapted.mixing(stack, case.draw(0)):
        encoded = measured.encode(waves)
        encode_s = median_of(partial(measured.encode, waves), arguments.repeats, clock=arguments.clock)
        steps = max(2, round(TOKENS_PER_SECOND * window_s))
        decode_s = median_of(
            partial(measured.decode, encoded, steps), arguments.repeats, clock=arguments.clock
        )
    return {
        "axis": axis, "value": value, "rows": case.rows, "domains": case.domains, "window_s": window_s,
        "encode_s": encode_s, "decode_s": decode_s,
        "audio_s_per_s": case.rows * window_s / (encode_s + decode_s),
    }  # fmt: skip


if __name__ == "__main__":
    main()
