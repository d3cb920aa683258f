"""Rows of a study's results: all seeds together, with intervals and steps to 90 % of the gain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssvd_asr.errors import DataError
from training.bench.bootstrap import interval
from training.bench.study import ADULT, SEEDS
from training.methods.choices import MERGED

Result = Mapping[str, Any]
GAIN = 0.9  # share of the final gain in validation accuracy


@dataclass(frozen=True)
class Entry:
    """One config on one domain, over all its seeds. Rates are ratios."""

    config: str
    group: str
    p: float | None  # share of the directions, if the size is given so
    domain: str
    lr: float
    parameters: int
    wers: tuple[float, ...]  # one per seed
    wer: float  # of all seeds together
    zero: float  # of the base
    interval: tuple[float, float]  # over voices, all seeds together
    capped: float  # WER with an utterance's errors limited to its words, which excludes loops
    adult: float  # WER on adult speech with the domain's adapter, for forgetting (first seed)
    scales: tuple[float, ...]  # chosen, one per seed; empty: none was chosen
    bytes: int  # of the file
    half_bytes: int  # if stored in half precision, as adapters in the shared basis are
    step_s: float | None  # None: not measured yet
    step_bytes: int | None  # beyond the memory in use before the step
    basis_bytes: int | None  # held during training besides the base and the adapter
    steps_to_gain: int | None
    curve: tuple[tuple[int, float], ...]  # step and validation accuracy, from the untrained model on

    @property
    def memory_bytes(self) -> int | None:
        """Bytes held in training besides the base, the adapter and the data."""
        if self.step_bytes is None or self.basis_bytes is None:
            return None
        return self.step_bytes + self.basis_bytes


@dataclass(frozen=True)
class Counts:
    """Word errors and words of each voice on a domain's test set, summed over utterances and seeds."""

    errors: list[int]
    words: list[int]
    capped: list[int]  # errors limited to the words of each utterance

    @classmethod
    def of(cls, runs: Sequence[Result], voices: Sequence[int]) -> Counts:
        """Count the runs of one config on one domain. voices: the number of each utterance's voice."""
        found = cls(*([0] * (max(voices) + 1) for _ in range(3)))
        for run in runs:
            test = run["tests"][run["domain"]]
            for voice, errors, words in zip(voices, test["errors"], test["words"], strict=True):
                found.errors[voice] += errors
                found.words[voice] += words
                found.capped[voice] += min(errors, words)
        return found

    @property
    def wer(self) -> float:
        """WER over all utterances."""
        return sum(self.errors) / sum(self.words)


def voices_of(results: Sequence[Result]) -> Mapping[str, Sequence[int]]:
    """Return the voice numbers of each test set's utterances. Raises DataError if the results lack them."""
    for result in results:
        if result["stage"] == "voices":
            return dict(result["tests"])
    raise DataError("these results do not say who speaks what: `ssvd bench methods` on the corpora notes it")


def latest_study(results: Iterable[Result]) -> list[Result]:
    """Return the results of the last line's study."""
    every = list(results)
    return [result for result in every if result["study"] == every[-1]["study"]]


def finals(results: Sequence[Result], stage: str = "final") -> dict[tuple[str, str], list[Result]]:
    """Return the scored runs of each config and domain in order of the seeds. stage: `final` or `checked`."""
    runs: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result["stage"] == stage and "config" in result and "failed" not in result:
            runs.setdefault((result["config"], result["domain"]), []).append(result)
    return {key: sorted(of, key=lambda result: result["seed"]) for key, of in runs.items()}


def at_chosen_scale(results: Sequence[Result]) -> list[Result]:
    """Return the results with the figures of their chosen scale, of runs that have one, as their figures."""
    return [
        {**result, "tests": result["scaled_tests"]} if "scaled_tests" in result else result
        for result in results
    ]


def entries(results: Sequence[Result], stage: str = "final") -> list[Entry]:
    """Return an entry for each config and domain with a scored run, in the order of the results.

    stage: of the runs: `final`, scored greedily, or `checked`, by the server's default search.
    """
    of_base = "base" if stage == "final" else stage
    zero = {
        result["domain"]: result
        for result in results
        if result["stage"] == of_base and "config" not in result
    }
    voices = voices_of(results)
    costs = {result["config"]: result for result in results if result["stage"] == "cost"}
    bases = {result["config"]: result["bytes"] for result in results if result["stage"] == "basis"}
    found = []
    for (config, domain), of in finals(results, stage).items():
        first = of[0]
        if first["seed"] != SEEDS[0] or domain not in zero:
            continue  # only the first seed has the other test sets
        curve = ((0, zero[domain]["valid_accuracy"]), *((step, acc) for step, _, acc in first["curve"]))
        counts, cost = Counts.of(of, voices[domain]), costs.get(config, {})
        found.append(
            Entry(
                config=config,
                group=first["group"],
                p=first["options"].get("p"),
                domain=domain,
                lr=first["lr"],
                parameters=first["parameters"],
                wers=tuple(result["tests"][domain]["wer"] for result in of),
                wer=counts.wer,
                zero=zero[domain]["tests"][domain]["wer"],
                interval=interval(counts.errors, counts.words),
                capped=sum(counts.capped) / sum(counts.words),
                adult=first["tests"][ADULT]["wer"],
                scales=tuple(result["scale"] for result in of if "scale" in result),
                bytes=first["bytes"],
                half_bytes=first["bytes"] - (2 * first["parameters"] if _single(first) else 0),
                step_s=cost.get("step_s"),
                step_bytes=cost.get("step_bytes"),
                basis_bytes=bases.get(config),
                steps_to_gain=steps_to_gain(curve),
                curve=curve,
            )
        )
    return found


def _single(run: Result) -> bool:
    """Return whether the file is in single precision."""
    return run["options"].get("method") in MERGED


def steps_to_gain(curve: Sequence[tuple[int, float]]) -> int | None:
    """Return the first step at which a (step, accuracy) curve has GAIN of its gain; None without a gain."""
    first, best = curve[0][1], max(accuracy for _, accuracy in curve)
    if best <= first:
        return None
    return next(step for step, accuracy in curve if accuracy - first >= GAIN * (best - first))


def pareto(found: Sequence[Entry]) -> list[Entry]:
    """Return the entries with a lower WER than every smaller one, in the order of size."""
    best: list[Entry] = []
    for entry in sorted(found, key=lambda each: (each.parameters, each.wer)):
        if not best or entry.wer < best[-1].wer:
            best.append(entry)
    return best
