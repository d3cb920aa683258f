"""Tables and figures of `ssvd bench methods`, made from its results alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from training.bench.bootstrap import LEVEL
from training.bench.checks import Runs, check_lines
from training.bench.study import ADULT, DOMAINS, LEARNING_RATES, SEEDS, Budget
from training.bench.tables import Entry, Result, entries, latest_study, pareto

COMMAND = "ssvd bench methods"
COLUMNS = (
    "config", "lr", "parameters", "file", "WER", "interval", "inserted", "adult", "steps to 90 %",
    "speed", "peak memory", "difference",
)  # fmt: skip


def write_report(results: Iterable[Result], budget: Budget, folder: Path) -> list[Path]:
    """Write methods.md and the figures into ``folder``; the paths. Nothing to say, nothing written."""
    chosen = list(results)
    found = entries(latest_study(chosen)) if chosen else []
    if not found:
        return []
    from training.bench.figures import write_figures

    page = folder / "methods.md"
    figures = write_figures(found, folder)
    page.write_text(_page(latest_study(chosen), found, budget, figures), encoding="utf-8")
    return [page, *figures]


def _page(results: Sequence[Result], found: Sequence[Entry], budget: Budget, figures: Sequence[Path]) -> str:
    lines = ["# Methods side by side", "", _rules(budget), ""]
    for domain in DOMAINS:
        chosen = [entry for entry in found if entry.domain == domain]
        if chosen:
            lines += _table(domain, chosen, Runs.of(results))
    lines += check_lines(Runs.of(results))
    lines += [f"![{path.stem}]({path.name})" for path in figures]
    return "\n".join(lines) + "\n"


def _rules(budget: Budget) -> str:
    return (
        f"Written by `{COMMAND}` with methods.jsonl. Every run: owsm-nano, {budget.train_utterances} "
        f"utterances of the domain, {budget.rounds * budget.batches_a_round} steps, the same batches for one "
        f"seed. A method's learning rate was chosen by the accuracy on {budget.valid_utterances} utterances "
        f"of {DOMAINS[0]} (validation) after {budget.lr_rounds * budget.batches_a_round} steps, out of "
        f"{', '.join(f'{rate:g}' for rate in LEARNING_RATES)}: from the middle on, until both neighbours are "
        f"worse. WER of {budget.test_utterances} test utterances, greedy. Intervals: {LEVEL:.0%}, bootstrap "
        f"over utterances, first seed; several values are the seeds {', '.join(map(str, SEEDS))}. "
        "`inserted`: the part of the WER that is inserted words, most of them one utterance said again "
        "and again. `speed`: seconds of padded audio trained on in a second, beside another run; "
        "the batches are the same, so the time of a step is its inverse."
    )


def _table(domain: str, found: Sequence[Entry], runs: Runs) -> list[str]:
    zero = runs.tests("base", domain)
    best = {entry.config for entry in pareto(found)}
    reference = found[0].config
    lines = [
        f"## {domain}: {zero[domain]['wer']:.1%} without an adapter, adult speech {zero[ADULT]['wer']:.1%}",
        "",
        f"Bold: nothing smaller is better. The last column is the WER over that of {reference} on the "
        "same utterances (first seed), with the interval of the difference.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for entry in sorted(found, key=lambda each: each.parameters):
        cells = [
            f"**{entry.config}**" if entry.config in best else entry.config,
            f"{entry.lr:g}",
            f"{entry.parameters:,}",
            f"{entry.bytes / 1e6:.2f} MB",
            ", ".join(f"{value:.1%}" for value in entry.wers),
            f"{entry.interval[0]:.1%} to {entry.interval[1]:.1%}",
            f"{entry.inserted:.1%}",
            f"{entry.adult:.1%}",
            str(entry.steps_to_gain or "-"),
            f"{entry.real_time:.0f}x",
            f"{entry.peak_memory_bytes / 2**20:.0f} MiB",
            runs.difference(entry.config, reference, domain) if entry.config != reference else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
