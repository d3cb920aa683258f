"""The part of docs/results/any-voice.md on automatic choice: tables and a figure, all from the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.espeak.choices import BASE, NEW, OWN, Row, choice, fit, rows_of, wer
from recipes.espeak.choices import SURE as TRIED
from recipes.espeak.speak import TEN
from recipes.espeak.ten_domains import LENGTHS, SHARED
from server.auto_options import AutoOptions

FIGURE = "any-voice-auto.svg"
SYSTEMS = (BASE, OWN, "auto", "fast", SHARED)
TOLD = {OWN: "right label", "auto": "auto", "fast": "auto=fast", SHARED: "one for all", BASE: "base"}


def section(found: Mapping[str, Any], times: Mapping[str, Any] | None) -> list[str]:
    """Return the page's section."""
    valid = [row for length in LENGTHS for row in rows_of(found, "valid", length)]
    options = fit(valid)
    counts = found["of"]["utterances"]
    chosen = ", ".join(f"{each:g}" for each in TRIED)
    return [
        "## The server chooses (`domain=auto`)",
        "",
        "Ten domains: children and adults in five accents. The base was trained on two of them, adult-us "
        f"and adult-rp; each other has an adapter (p = 40 %) of {counts['train']} utterances. "
        '"One for all" is an adapter of the same size, trained on the utterances of all ten. Voices and '
        f"sentences of the tests are in no training; {counts['test']} utterances of each kind and length, "
        "default search, WER in %. Auto compares transcripts where it is not sure; auto=fast never does.",
        "",
        f"Validation data chose: sure from {options.sure:g} (tried {chosen} and never), CTC's weight "
        f"{options.ctc_weight:g}, margin of the base {options.margin:g} nats a token.",
        "",
        *_by_length(found, options),
        "",
        *_by_domain(found, options),
        "",
        f"![WER by kind of speaker for base, right label, auto and one adapter for all]({FIGURE})",
        "",
        *_unknown(found, options),
        "",
        *(_time_table(times) if times else []),
    ]  # fmt: skip


def _by_length(found: Mapping[str, Any], options: AutoOptions) -> list[str]:
    never = AutoOptions(options.decode, 2.0, options.margin, options.ctc_weight)
    names = " | ".join(TOLD[name] for name in SYSTEMS)
    lines = [
        f"| said | {names} | never skipping | right choice, auto | fast | compared |",
        "|---|" + "---|" * (len(SYSTEMS) + 4),
    ]
    for length in LENGTHS:
        rows = rows_of(found, "test", length)
        rates = [f"{100 * wer(rows, options, name):.1f}" for name in SYSTEMS]
        made = [choice(row, options) for row in rows]
        right = sum(name == row["own"] for (name, _), row in zip(made, rows, strict=True)) / len(rows)
        fast = sum(choice(row, options, fast=True)[0] == row["own"] for row in rows) / len(rows)
        compared = sum(each for _, each in made) / len(rows)
        whole = f"{100 * wer(rows, never, 'auto'):.1f}"
        shares = f"{right:.0%} | {fast:.0%} | {compared:.0%}"
        lines.append(f"| {length} | {' | '.join(rates)} | {whole} | {shares} |")
    return lines


def _by_domain(found: Mapping[str, Any], options: AutoOptions) -> list[str]:
    lines = ["Sentences, by who speaks:", "", f"| | {' | '.join(TOLD[name] for name in SYSTEMS)} |"]
    lines.append("|---|" + "---|" * len(SYSTEMS))
    for domain in TEN:
        rows = rows_of(found, "test", "sentences", domain)
        rates = [f"{100 * wer(rows, options, name):.1f}" for name in SYSTEMS]
        lines.append(f"| {domain} | {' | '.join(rates)} |")
    return lines


def _unknown(found: Mapping[str, Any], options: AutoOptions) -> list[str]:
    """A speaker whose own domain is not there: the base and the next best are compared."""
    rows = [_without_own(row) for row in rows_of(found, "test", "sentences") if row["own"] in NEW]
    never = AutoOptions(1, 2.0, options.margin, options.ctc_weight)
    return [
        "A speaker who fits none: the same sentences, with the speaker's own domain taken away (one other "
        f"domain is compared with the base). WER {100 * wer(rows, never, 'auto'):.1f} %; the base alone has "
        f"{100 * wer(rows, never, BASE):.1f} %."
    ]


def _without_own(row: Row) -> Row:
    likely = {
        name: value for name, value in row["likely"].items() if name != row["own"] and name in row["said"]
    }
    return {**row, "likely": likely}


def _time_table(times: Mapping[str, Any]) -> list[str]:
    kinds = [kind for kind in next(iter(times["rows"].values())) if kind != "named"]
    lines = [
        f"Processor time of {times['clips']} sentences, one request after the other, over that of requests "
        f"that name the domain (median of {times['rounds']} rounds). Copies of the domains, with voices that "
        "nobody has, make up the number.",
        "",
        f"| domains | {' | '.join(kinds)} |",
        "|---|" + "---|" * len(kinds),
    ]
    for count, row in times["rows"].items():
        lines.append(f"| {count} | {' | '.join(f'{row[kind] / row["named"]:.2f}x' for kind in kinds)} |")
    told = ", ".join(f"{name} {100 * wer:.1f} %" for name, wer in times["two_speakers"].items())
    pairs = times["clips"] // 2
    return [*lines, "", f"An adult, a pause and a child in one recording ({pairs} of them), WER: {told}.", ""]


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Draw WER by kind of speaker."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "ssvd-asr"
    from matplotlib import pyplot

    options = fit([row for length in LENGTHS for row in rows_of(found, "valid", length)])
    shown: Sequence[str] = (BASE, OWN, "auto", SHARED)
    figure, axes = pyplot.subplots(figsize=(9, 3.6), layout="constrained")
    for place, name in enumerate(shown):
        heights = [100 * wer(rows_of(found, "test", "sentences", domain), options, name) for domain in TEN]
        at = [index + (place - 1.5) * 0.2 for index in range(len(TEN))]
        axes.bar(at, heights, 0.2, label=TOLD[name], hatch=("", "//", "xx", "..")[place], edgecolor="white")
    axes.set_xticks(range(len(TEN)), [name.replace("-", "\n") for name in TEN])
    axes.set_ylabel("WER %")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / FIGURE, metadata={"Date": None})
    pyplot.close(figure)
