"""What the results of a study say, as rows: means over seeds, intervals, steps to 90 % of the gain."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.bench.study import ADULT, SEEDS

Result = Mapping[str, Any]
GAIN = 0.9  # share of the final gain in validation accuracy


@dataclass(frozen=True)
class Entry:
    """One config on one domain. Rates are ratios."""

    config: str
    group: str
    domain: str
    lr: float
    parameters: int
    wers: tuple[float, ...]  # one a seed
    interval: tuple[float, float]  # of the first seed, over utterances
    inserted: float  # words inserted, as a share of the words; a decoder that repeats itself shows here
    adult: float  # WER on adult speech with the domain's adapter: what was forgotten
    bytes: int
    real_time: float  # seconds of padded audio trained on in a second
    peak_memory_bytes: int
    steps_to_gain: int | None
    curve: tuple[tuple[int, float], ...]  # step and validation accuracy, from the untrained model on

    @property
    def wer(self) -> float:
        """Mean over the seeds."""
        return statistics.mean(self.wers)


def latest_study(results: Iterable[Result]) -> list[Result]:
    """The results of the study that the last line belongs to."""
    every = list(results)
    return [result for result in every if result["study"] == every[-1]["study"]]


def entries(results: Sequence[Result]) -> list[Entry]:
    """One entry for each config and domain that has run to its end, in the order of the results."""
    zero = {result["domain"]: result for result in results if result["stage"] == "base"}
    runs: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result["stage"] == "final" and "failed" not in result:
            runs.setdefault((result["config"], result["domain"]), []).append(result)
    found = []
    for (config, domain), of in runs.items():
        of = sorted(of, key=lambda result: result["seed"])
        first = of[0]
        if first["seed"] != SEEDS[0] or domain not in zero:
            continue  # the first seed has the other test sets; it comes first
        curve = ((0, zero[domain]["valid_accuracy"]), *((step, acc) for step, _, acc in first["curve"]))
        tests = first["tests"]
        own = tests[domain]
        found.append(
            Entry(
                config=config,
                group=first["group"],
                domain=domain,
                lr=first["lr"],
                parameters=first["parameters"],
                wers=tuple(result["tests"][domain]["wer"] for result in of),
                interval=tuple(own["interval"]),
                inserted=own["insertions"] / sum(own["words"]),
                adult=tests[ADULT]["wer"],
                bytes=first["bytes"],
                real_time=first["audio_s_per_s"],
                peak_memory_bytes=first["peak_memory_bytes"],
                steps_to_gain=steps_to_gain(curve),
                curve=curve,
            )
        )
    return found


def steps_to_gain(curve: Sequence[tuple[int, float]]) -> int | None:
    """The first step at which a curve (step, accuracy) has GAIN of its whole gain; None without a gain."""
    first, best = curve[0][1], max(accuracy for _, accuracy in curve)
    if best <= first:
        return None
    return next(step for step, accuracy in curve if accuracy - first >= GAIN * (best - first))


def pareto(found: Sequence[Entry]) -> list[Entry]:
    """Those that no other one beats with as few parameters, in the order of their size."""
    best: list[Entry] = []
    for entry in sorted(found, key=lambda each: (each.parameters, each.wer)):
        if not best or entry.wer < best[-1].wer:
            best.append(entry)
    return best
