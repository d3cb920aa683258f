"""Page and figures of `ssvd bench methods`, made from its results alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from training.bench.bootstrap import LEVEL
from training.bench.checks import BASE_CONFIG, Runs, check_lines, rate_lines
from training.bench.configs import SSVD_RATE
from training.bench.cost import TIMED_STEPS
from training.bench.study import (
    ADULT,
    DOMAINS,
    FIRST_RATE,
    LEARNING_RATES,
    REACH,
    SEEDS,
    Budget,
    Config,
    at_edge,
    current,
    next_tasks,
)
from training.bench.tables import (
    GAIN,
    Entry,
    Result,
    at_chosen_scale,
    entries,
    latest_study,
    pareto,
)
from training.methods.scale import SCALES

COMMAND = "ssvd bench methods"
REFERENCE = SSVD_RATE  # the config that all others are compared with
COLUMNS = (
    "config", "lr", "parameters", "file", "WER", "interval", "capped", "adult", "steps to 90 %", "step",
    "memory", f"over {REFERENCE}",
)  # fmt: skip

CHECKED_COLUMNS = (
    "domain", "config", "parameters", "WER, greedy", "WER", "scale", "WER, scaled", "interval",
    "adult, greedy", "adult", "adult, scaled",
)  # fmt: skip


def write_report(
    results: Iterable[Result], configs: Sequence[Config], budget: Budget, folder: Path
) -> list[Path]:
    """Write methods.md and the figures into ``folder`` and return their paths; none without scored runs."""
    every = list(results)
    study = latest_study(every) if every else []
    chosen = current(configs, study)
    found = entries(chosen)
    if not found:
        return []
    from training.bench.figures import write_figures

    page = folder / "methods.md"
    figures = write_figures(found, [config.group for config in configs], folder)
    page.write_text(_page(chosen, study, configs, found, budget, figures), encoding="utf-8")
    return [page, *figures]


def _page(
    results: Sequence[Result],
    every: Sequence[Result],
    configs: Sequence[Config],
    found: Sequence[Entry],
    budget: Budget,
    figures: Sequence[Path],
) -> str:
    lines = ["# Methods side by side", "", *_rules(budget), ""]
    if missing := Counter(task.stage for task in next_tasks(configs, every)):
        told = ", ".join(f"{count} {stage}" for stage, count in missing.items())
        lines += [f"**Not complete.** Runs that can be made now and are missing: {told}.", ""]
    runs = Runs.of(results)
    for domain in DOMAINS:
        chosen = [entry for entry in found if entry.domain == domain]
        if chosen:
            lines += _table(domain, chosen, {each.name: each.rate_of for each in configs}, runs)
    checked = entries(results, "checked")
    lines += _checked(found, checked, entries(at_chosen_scale(results), "checked"))
    lines += check_lines(runs)
    lines += rate_lines(every, {entry.config: entry.lr for entry in found})
    if failed := [result["key"] for result in results if "failed" in result]:
        lines += [f"Diverged: {', '.join(failed)}.", ""]
    lines += [f"![{path.stem}]({path.name})" for path in figures]
    return "\n".join(lines) + "\n"


def _rules(budget: Budget) -> list[str]:
    rates = ", ".join(f"{rate:g}" for rate in LEARNING_RATES)
    return [
        f"Written by `{COMMAND}` with methods.jsonl; [what it says](../methods.md). Every run: owsm-nano, "
        f"{budget.train_utterances} utterances of the domain, {budget.rounds * budget.batches_a_round} "
        "steps, the same batches for one seed.",
        "",
        f"- `lr`: chosen by the accuracy on {budget.valid_utterances} validation utterances of {DOMAINS[0]} "
        f"after {budget.lr_rounds * budget.batches_a_round} steps, out of {rates}: from "
        f"{LEARNING_RATES[FIRST_RATE]:g} on, until none of the {REACH} on either side is better; `edge`: the "
        "grid ends there, and a better rate may lie beyond. Where another config's name stands, the rate is "
        "that one's.",
        f"- `WER`: of {budget.test_utterances} test utterances, greedy, one value a seed "
        f"({', '.join(map(str, SEEDS))}). `interval`: {LEVEL:.0%}, bootstrap over voices, all seeds "
        "together: for other speakers of the same kind, with these trained weights; so few voices make it "
        "narrower than its name. `capped`: no utterance counts as more than all wrong; what it leaves out is "
        "decoders that repeat themselves.",
        "- `adult`: WER on the speech that the base was trained on, with the domain's adapter (first seed).",
        f"- `steps to 90 %`: the first validation with {GAIN:.0%} of the run's best gain in token accuracy, "
        f"every {budget.batches_a_round} steps (first seed).",
        "- `file`: as this project stores it, in half precision for adapters in the shared basis; in single "
        "precision for peft's and for whole weights, whose size in half precision stands in brackets.",
        f"- `step`: seconds (on a CPU the processor's) of a training step, mean of {TIMED_STEPS} on the same "
        "batches, nothing beside it. `memory`: what a step holds beyond model, data and adapter, and the "
        "basis beside it: two matrices a layer, of k columns for SSVD and LoRA-XS, of all for SVFT and "
        "tails; none for the others.",
        "- LoRA, DoRA, VeRA and PiSSA have, as in the paper, a plain LoRA of their rank on the decoder's "
        "embedding; of VeRA's numbers that is most, and it learns at other rates than VeRA: `vera-linears` "
        "are without it. The paper's SVFT has numbers of its own on the embedding, ours does not.",
        "- SVFT's core is computed as a dense k x k matrix of all directions, as it is served: its step "
        "costs what that costs.",
        "- A config of three seeds is compared with one of a single seed by the first alone.",
    ]


def _checked(greedy: Sequence[Entry], checked: Sequence[Entry], scaled: Sequence[Entry]) -> list[str]:
    """Return the rows that are scored by the server's default search too, beside the greedy ones."""
    if not checked:
        return []
    before = {(entry.config, entry.domain): entry for entry in greedy}
    after = {(entry.config, entry.domain): entry for entry in scaled}
    zero = {entry.domain: entry.zero for entry in checked}
    lines = [
        "## By the server's default search",
        "",
        "The tables above are of greedy decoding. Here CTC checks the words, and a beam search with CTC "
        "decodes again what it doubts, as the server does by default. Each value is a run of its own with "
        "the same seed. "
        "`scale` multiplies what training changed: of "
        f"{', '.join(f'{scale:g}' for scale in SCALES)} the one with the lowest WER on the validation "
        "utterances, chosen for each run. `interval` is of the scaled rows. "
        f"Without an adapter: {', '.join(f'{domain} {wer:.1%}' for domain, wer in zero.items())}.",
        "",
        f"| {' | '.join(CHECKED_COLUMNS)} |",
        f"|{'---|' * len(CHECKED_COLUMNS)}",
    ]
    for entry in sorted(checked, key=lambda each: (DOMAINS.index(each.domain), each.parameters)):
        other = before.get((entry.config, entry.domain))
        best = after[entry.config, entry.domain]
        cells = [
            entry.domain,
            entry.config,
            f"{entry.parameters:,}",
            _seeds(other.wers) if other else "-",
            _seeds(entry.wers),
            ", ".join(f"{scale:g}" for scale in best.scales),
            _seeds(best.wers),
            f"{best.interval[0]:.1%} to {best.interval[1]:.1%}",
            f"{other.adult:.1%}" if other else "-",
            f"{entry.adult:.1%}",
            f"{best.adult:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _seeds(wers: Sequence[float]) -> str:
    return ", ".join(f"{wer:.1%}" for wer in wers)


def _table(domain: str, found: Sequence[Entry], rate_of: Mapping[str, str | None], runs: Runs) -> list[str]:
    zero = runs.tests(BASE_CONFIG, domain)
    best = {entry.config for entry in pareto(found)}
    lines = [
        f"## {domain}: {zero[domain]['wer']:.1%} without an adapter, adult speech {zero[ADULT]['wer']:.1%}",
        "",
        f"{max(runs.voices[domain]) + 1} voices."
        + (" (Twelve timbres of espeak-ng in two accents.)" if domain == DOMAINS[0] else ""),
        "",
        "Bold: nothing smaller is better. The last column is the difference in WER on the same utterances, "
        "its interval over voices.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for entry in sorted(found, key=lambda each: each.parameters):
        other = rate_of[entry.config]
        compared = entry.config != REFERENCE and runs.has(domain, REFERENCE)
        cells = [
            f"**{entry.config}**" if entry.config in best else entry.config,
            f"{entry.lr:g}{', edge' if at_edge(entry.lr) else ''}" + (f" ({other})" if other else ""),
            f"{entry.parameters:,}",
            f"{entry.bytes / 1e6:.2f} MB"
            + (f" ({entry.half_bytes / 1e6:.2f})" if entry.half_bytes != entry.bytes else ""),
            _seeds(entry.wers),
            f"{entry.interval[0]:.1%} to {entry.interval[1]:.1%}",
            f"{entry.capped:.1%}",
            f"{entry.adult:.1%}",
            str(entry.steps_to_gain or "-"),
            "-" if entry.step_s is None else f"{entry.step_s:.2f} s",
            "-" if entry.memory_bytes is None else f"{entry.memory_bytes / 2**20:.0f} MiB",
            runs.difference(entry.config, REFERENCE, domain) if compared else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
