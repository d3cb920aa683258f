"""The questions that the summary of the paper asks, answered from the rows of the benchmark.

Orthogonality: a rotation (Cayley's map or its first order) against an unconstrained core of as many numbers.
Semantic stability: does an adapter learn how a domain sounds, or what it says?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.bench.bootstrap import difference
from training.bench.study import DOMAINS, LR_DOMAIN, SEEDS, UNSEEN
from training.bench.tables import Result

BASE_CONFIG = "base"
# A rotation and the unconstrained core that trains about as many numbers.
MATCHED = (
    ("ssvd-first-order-p40", "ssvd-free-p28"),
    ("ssvd-cayley-p40", "ssvd-free-p28"),
    ("ssvd-first-order-p60", "ssvd-free-p42"),
    ("ssvd-cayley-p60", "ssvd-free-p42"),
)


@dataclass(frozen=True)
class Runs:
    """The scored runs of the first seed, by config and domain; the untrained model is BASE_CONFIG."""

    scored: Mapping[tuple[str, str], Result]

    @classmethod
    def of(cls, results: Sequence[Result]) -> Runs:
        """Of a study's results."""
        return cls({
            (str(result.get("config", BASE_CONFIG)), str(result["domain"])): result
            for result in results
            if "tests" in result and result.get("seed", SEEDS[0]) == SEEDS[0]
        })  # fmt: skip

    def has(self, domain: str, *configs: str) -> bool:
        """Whether all of them were scored on the domain."""
        return all((config, domain) in self.scored for config in configs)

    def tests(self, config: str, domain: str) -> Mapping[str, Any]:
        """Figures by test set."""
        found: Mapping[str, Any] = self.scored[(config, domain)]["tests"]
        return found

    def difference(self, config: str, reference: str, domain: str) -> str:
        """WER of the one less that of the other on the domain's test utterances, with its interval."""
        ours, theirs = (self.tests(each, domain)[domain] for each in (config, reference))
        low, high = difference(ours["errors"], theirs["errors"], ours["words"])
        words = sum(ours["words"])
        apart = (sum(ours["errors"]) - sum(theirs["errors"])) / words
        return f"{apart:+.1%} ({low:+.1%} to {high:+.1%})"


def check_lines(runs: Runs) -> list[str]:
    """Both tables, as far as their runs are done."""
    return [*_orthogonality(runs), *_semantic_stability(runs)]


def _orthogonality(runs: Runs) -> list[str]:
    rows = []
    for rotated, free in MATCHED:
        known = [domain for domain in DOMAINS if runs.has(domain, rotated, free)]
        if known:
            sizes = [runs.scored[(each, known[0])]["parameters"] for each in (rotated, free)]
            cells = [runs.difference(rotated, free, domain) if domain in known else "-" for domain in DOMAINS]
            rows.append(f"| {rotated} ({sizes[0]:,}) | {free} ({sizes[1]:,}) | {' | '.join(cells)} |")
    if not rows:
        return []
    return [
        "## Is a rotation needed?",
        "",
        "WER of the rotation less that of the unconstrained core with as many numbers; below zero the "
        "rotation is better.",
        "",
        f"| rotation | unconstrained | {' | '.join(DOMAINS)} |",
        f"|{'---|' * (2 + len(DOMAINS))}",
        *rows,
        "",
    ]


def _semantic_stability(runs: Runs) -> list[str]:
    known = [config for config, domain in runs.scored if domain == LR_DOMAIN]
    if known in ([], [BASE_CONFIG]):
        return []
    others = [UNSEEN, *(domain for domain in DOMAINS if domain != LR_DOMAIN)]
    lines = [
        f"## A voice or a vocabulary? Adapters for {LR_DOMAIN} elsewhere",
        "",
        f"`{UNSEEN}`: the same kind of voices, sentences made of words that the training data do not have as "
        f"far as the grammar allows. `recall`: of the words that training never said, how many were "
        f"recognised; in both of {LR_DOMAIN}'s test sets. The other domain shows what an adapter does to "
        "speech it is not for.",
        "",
        f"| config | {LR_DOMAIN} | recall | {UNSEEN} | recall | {' | '.join(others[1:])} |",
        f"|{'---|' * (5 + len(others[1:]))}",
    ]
    for config in known:
        tests = runs.tests(config, LR_DOMAIN)
        cells = [config]
        for name in (LR_DOMAIN, UNSEEN):
            right, total = tests[name]["unseen_words"]
            cells += [f"{tests[name]['wer']:.1%}", f"{right / total:.1%} of {total}"]
        cells += [f"{tests[name]['wer']:.1%}" for name in others[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
