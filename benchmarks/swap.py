"""Time until a domain is served, after publishing and from disk, host memory and slot; p50 and p99.

A swap is the work that a request causes: lease the version, mount it in a slot, launch. A file's base and
basis are checked the first time a process reads it, and its SHA-256 at every reading from disk. The SHA-256
is also shown separately. The file itself is in the system's page cache.

Transcripts are of a short window (--window), so that the long output of a random model does not hide the
swap. `slower_by_batches` is (median with others loading) / (median alone) - 1. `slower_by_batches_p99` is the
99th percentile with others loading over the median alone, minus 1.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain

import numpy as np

from benchmarks.banked import TIMEOUT_S, Banked, banked
from benchmarks.report import CLOCKS, choose_shapes, parser, wait_for_turn, write
from server.bank.bank import Bank
from server.engine.messages import Request
from ssvd_asr.device import forbid_tf32, resolve_device

Row = dict[str, object]


def main(argv: Sequence[str] | None = None) -> None:
    """Run and write a table for each shape."""
    arguments = _parse(argv)
    device = resolve_device(arguments.device)
    forbid_tf32()
    for shape in arguments.shapes:
        with banked(shape, p=arguments.p, device=device, window_s=arguments.window) as served:
            wait_for_turn()
            rows = chain(
                _swaps(served, arguments),
                _resized(served, arguments),
                _published(served, arguments),
                iter(()) if arguments.clock == "cpu" else _in_flight(served, arguments),
            )
            write(
                f"swap-{shape}", rows, device=device, out=arguments.out, quick=arguments.quick, shape=shape,
                p=arguments.p, dtype=str(served.recogniser.dtype), repeats=arguments.repeats,
                clock=arguments.clock, window_s=arguments.window, file_bytes=served.versions[0].size_bytes,
            )  # fmt: skip


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--shapes", nargs="+", default=None, help="default nano and 0.1b; on a GPU 1b")
    made.add_argument("--p", type=float, default=0.4, help="share of min(m, n) that turns")
    made.add_argument("--window", type=float, default=2.0, help="of the transcripts (seconds)")
    made.add_argument("--repeats", type=int, default=None, help="swaps a row; default 200, quick 20")
    arguments = made.parse_args(argv)
    choose_shapes(arguments, gpu=resolve_device(arguments.device).type == "cuda", quick="nano")
    if arguments.repeats is None:
        arguments.repeats = 20 if arguments.quick else 200
    return arguments


def _swaps(served: Banked, arguments: argparse.Namespace) -> list[Row]:
    """Time swaps from each tier. Two domains take turns; for the cold tiers, only one fits."""
    rows = []
    tiers = (("disk, first time", 1, 1), ("disk", 1, 1), ("host memory", 1, 3), ("slot", 3, 3))
    for tier, slots, held in tiers:
        with served.bank(slots=slots, held=held) as bank:
            touches = [partial(served.touch, bank, version) for version in served.versions[:2]]
            before = served.forget if tier == "disk, first time" else None
            rows.append(_row(f"from {tier}", _times(touches, arguments.repeats, arguments.clock, before)))
    data = served.versions[0].read_bytes()
    digest = [lambda: hashlib.sha256(data).digest()]
    rows.append(_row("of which SHA-256 (disk)", _times(digest, arguments.repeats, arguments.clock)))
    return rows


def _resized(served: Banked, arguments: argparse.Namespace) -> list[Row]:
    """Time the pause between batches when slots are added or removed and the staying cores are moved."""
    rows = []
    for staying in (1, 4, 16):
        stack = served.subject.stack(staying)
        moves = {slot: slot for slot in range(1, staying + 1)}
        turns = [partial(stack.resize, slots, stack.k, moves) for slots in (2 * staying + 1, staying + 1)]
        took = _times(turns, max(4, arguments.repeats // 10), arguments.clock)
        rows.append(_row(f"slots added or taken away, {staying} domains stay", took))
    return rows


def _published(served: Banked, arguments: argparse.Namespace) -> list[Row]:
    """Time from `publish` to the first transcript, and the next transcript of the same domain."""
    (wave,), now = served.subject.waves(1), CLOCKS[arguments.clock]
    parts = ("publish", "publish to first transcript", "second transcript")
    seconds: dict[str, list[float]] = {part: [] for part in parts}
    with served.engine() as engine:
        engine.submit(Request(wave, domain="domain0")).result(TIMEOUT_S)
        for index in range(max(5, arguments.repeats // 10)):
            name = f"fresh{index}"
            served.forget()
            start = now()
            version = served.store.publish(name, served.files[0])
            published = now()
            engine.submit(Request(wave, domain=name)).result(TIMEOUT_S)
            first = now()
            engine.submit(Request(wave, domain=name)).result(TIMEOUT_S)
            second = now()
            for part, took in zip(parts, (published - start, first - start, second - first), strict=True):
                seconds[part].append(took)
            served.store.remove(name, version.version)
    return [_row(what, took) for what, took in seconds.items()]


def _in_flight(served: Banked, arguments: argparse.Namespace) -> list[Row]:
    """Time requests of one domain, one by one, alone and while others are loaded from disk."""
    (wave,), count = served.subject.waves(1), max(5, arguments.repeats // 4)
    # Room for two domains: the others evict each other and are read from disk every time.
    with served.bank(slots=2, held=2) as bank, served.engine(bank) as engine:
        ask = [lambda: engine.submit(Request(wave, domain="domain0")).result(TIMEOUT_S)]
        quiet = _times(ask, count, "wall")
        rows = [_row("request, nothing else", quiet)]
        for pause_s, how in ((0.1, "two every 0.1 s"), (0.0, "without a pause")):
            stop = threading.Event()
            loader = threading.Thread(target=_load, args=(served, bank, stop, pause_s))
            loader.start()
            try:
                busy = _times(ask, count, "wall")
            finally:
                stop.set()
                loader.join()
            alone = float(np.median(quiet))
            rows.append({
                **_row(f"request, others loaded {how}", busy),
                "slower_by_batches": float(np.median(busy)) / alone - 1,
                "slower_by_batches_p99": float(np.percentile(busy, 99)) / alone - 1,
            })  # fmt: skip
    return rows


def _load(served: Banked, bank: Bank, stop: threading.Event, pause_s: float) -> None:
    while not stop.wait(pause_s):
        for version in served.versions[1:]:
            served.load(bank, version)


def _times(
    runs: Sequence[Callable[[], object]],
    repeats: int,
    clock: str,
    before: Callable[[], object] | None = None,
) -> list[float]:
    """Return the seconds of `repeats` calls, the runs in turn. A first round and `before` are not timed."""
    now = CLOCKS[clock]  # type: ignore[index]
    for run in runs:
        run()
    gc.collect()
    seconds = []
    for index in range(repeats):
        if before is not None:
            before()
        start = now()
        runs[index % len(runs)]()
        seconds.append(now() - start)
    return seconds


def _row(what: str, seconds: Sequence[float]) -> Row:
    p50, p99 = (1000 * float(each) for each in np.percentile(seconds, [50, 99]))
    return {"what": what, "p50_ms": p50, "p99_ms": p99, "count": len(seconds)}


if __name__ == "__main__":
    main()
