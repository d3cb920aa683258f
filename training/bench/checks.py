"""Comparison tables for the questions of the paper's summary, from the rows of the benchmark.

Orthogonality: a rotation (Cayley's map or its first order) against an unconstrained core of as many numbers.
Semantic stability: whether an adapter learns the voices of a domain or its vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.bench.bootstrap import difference
from training.bench.study import ADULT, DOMAINS, LR_DOMAIN, SEEDS, UNSEEN
from training.bench.tables import Counts, Result, finals, voices_of

BASE_CONFIG = "base"
# Pairs of a rotation and an unconstrained core that trains about as many numbers.
MATCHED = (
    ("ssvd-first-order-p20", "ssvd-free-p14"),
    ("ssvd-first-order-p40", "ssvd-free-p28"),
    ("ssvd-cayley-p40", "ssvd-free-p28"),
    ("ssvd-first-order-p60", "ssvd-free-p42"),
    ("ssvd-cayley-p60", "ssvd-free-p42"),
    ("ssvd-first-order-p80", "ssvd-free-p57"),
)
# k by the energy of a layer's spectrum, and by its shape as for --p.
BUDGETS = tuple((f"ssvd-budget-energy-{size}", f"ssvd-budget-shape-{size}") for size in ("117k", "250k"))
LARGER = "ssvd-first-order-p60"
OF_ITS_SIZE = (
    "lora-r6", "pissa-r6", "dora-r6", "svft-banded-d11", "lora-xs-p42", "ssvd-tail-p60", "ssvd-two-sided-p42",
    "ssvd-encoder-p67",
)  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """Scored runs by config and domain; BASE_CONFIG is the untrained model."""

    scored: Mapping[tuple[str, str], Sequence[Result]]  # by seed
    voices: Mapping[str, Sequence[int]]  # by test set, one number per utterance

    @classmethod
    def of(cls, results: Sequence[Result]) -> Runs:
        """Collect the runs of a study's results."""
        base = {(BASE_CONFIG, str(r["domain"])): [r] for r in results if r["stage"] == "base"}
        return cls({**base, **finals(results)}, voices_of(results))

    def has(self, domain: str, *configs: str) -> bool:
        """Return whether all the configs were scored on the domain."""
        return all((config, domain) in self.scored for config in configs)

    def tests(self, config: str, domain: str) -> Mapping[str, Any]:
        """Return the figures of the first seed by test set."""
        found: Mapping[str, Any] = self.scored[(config, domain)][0]["tests"]
        return found

    def difference(self, config: str, reference: str, domain: str) -> str:
        """Return the WER of ``config`` minus that of ``reference``, with its interval over voices.

        Uses the seeds that both have, and names their number if there are several.
        """
        both = [self.scored[(each, domain)] for each in (config, reference)]
        seeds = set.intersection(*({run["seed"] for run in of} for of in both))
        voices = self.voices[domain]
        ours, theirs = (Counts.of([run for run in of if run["seed"] in seeds], voices) for of in both)
        low, high = difference(ours.errors, theirs.errors, ours.words)
        told = f", {len(seeds)} seeds" if len(seeds) > 1 else ""
        return f"{ours.wer - theirs.wer:+.1%} ({low:+.1%} to {high:+.1%}{told})"


def check_lines(runs: Runs) -> list[str]:
    """Return the tables, with the rows whose runs are done."""
    return [
        *_pairs("Is a rotation needed?", ("rotation", "unconstrained"), MATCHED, runs),
        *_pairs("k by energy or by shape?", ("by energy", "by shape"), BUDGETS, runs),
        *_pairs(
            "At the larger size", ("config", "ssvd"), tuple((each, LARGER) for each in OF_ITS_SIZE), runs
        ),
        *_semantic_stability(runs),
    ]


def _pairs(title: str, sides: tuple[str, str], pairs: Sequence[tuple[str, str]], runs: Runs) -> list[str]:
    """Return a table of WER differences within pairs of configs of about equal size."""
    rows = []
    for pair in pairs:
        known = [domain for domain in DOMAINS if runs.has(domain, *pair)]
        if known:
            named = [f"{each} ({runs.scored[(each, known[0])][0]['parameters']:,})" for each in pair]
            cells = [runs.difference(*pair, domain) if domain in known else "-" for domain in DOMAINS]
            rows.append(f"| {' | '.join([*named, *cells])} |")
    if not rows:
        return []
    return [
        f"## {title}",
        "",
        "WER of the first less that of the second, which has about as many numbers; below zero the first is "
        "better. Intervals over voices.",
        "",
        f"| {' | '.join([*sides, *DOMAINS])} |",
        f"|{'---|' * (2 + len(DOMAINS))}",
        *rows,
        "",
    ]


def _semantic_stability(runs: Runs) -> list[str]:
    known = [config for config, domain in runs.scored if domain == LR_DOMAIN]
    if known in ([], [BASE_CONFIG]):
        return []
    others = [domain for domain in DOMAINS if domain != LR_DOMAIN]
    lines = [
        f"## A voice or a vocabulary? Adapters for {LR_DOMAIN} elsewhere",
        "",
        f"`{UNSEEN}`: the same kind of voices, sentences made of words that the training data do not have as "
        f"far as the grammar allows. `recall`: of the words that training never said, how many were "
        f"recognised; in both of {LR_DOMAIN}'s test sets. The other domain shows what an adapter does to "
        "speech it is not for.",
        "",
        f"| config | {LR_DOMAIN} | recall | {UNSEEN} | recall | {' | '.join(others)} |",
        f"|{'---|' * (5 + len(others))}",
    ]
    for config in known:
        tests = runs.tests(config, LR_DOMAIN)
        cells = [config]
        for name in (LR_DOMAIN, UNSEEN):
            right, total = tests[name]["unseen_words"]
            cells += [f"{tests[name]['wer']:.1%}", f"{right / total:.1%} of {total}"]
        cells += [f"{tests[name]['wer']:.1%}" for name in others]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def rate_lines(results: Sequence[Result], rates: Mapping[str, float]) -> list[str]:
    """Return a table of whole runs at other learning rates beside those at the chosen rate.

    rates: the chosen rate by config. A config has such runs if it has several seeds and its own rate, or if
    its choice has changed since.
    """
    scored = {
        (config, domain, run["lr"]): run["tests"]
        for (config, domain), runs in finals(results).items()
        for run in runs
        if run["seed"] == SEEDS[0]
    }
    tried = {(r["config"], r["lr"]): r["valid_accuracy"] for r in results if r["stage"] == "lr"}
    rows = []
    for config in rates:
        known = sorted({lr for name, _, lr in scored if name == config})
        if len(known) < 2:
            continue
        for lr in known:
            name = f"**{lr:g}**" if lr == rates[config] else f"{lr:g}"
            accuracy = tried.get((config, lr))
            cells = [config, name, "-" if accuracy is None else f"{accuracy:.2%}"]
            for domain in DOMAINS:
                tests = scored.get((config, domain, lr))
                cells += [f"{tests[name]['wer']:.1%}" if tests else "-" for name in (domain, ADULT)]
            rows.append(f"| {' | '.join(cells)} |")
    if not rows:
        return []
    return [
        "## What the rate does",
        "",
        "Whole runs (first seed) of a config at several rates; bold: chosen. `accuracy`: what it was chosen "
        "by. A higher rate learns more of the domain or forgets more of adult speech, whatever the method; "
        "differences between configs that have other rates are differences of the rates too.",
        "",
        f"| config | lr | accuracy | {' | '.join(f'{domain} | adult' for domain in DOMAINS)} |",
        f"|{'---|' * (3 + 2 * len(DOMAINS))}",
        *rows,
        "",
    ]
