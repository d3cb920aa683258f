"""SVG figures of `ssvd bench methods`, one panel per domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.bench.study import DOMAINS
from training.bench.tables import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SSVD_MAPS = ("ssvd cayley", "ssvd first-order", "ssvd free")
SWEPT = "ssvd first-order"
CONVERGING = (SWEPT, "lora", "pissa", "full fine-tuning")
MATCHED_SIZE = 117_000  # trained numbers of SSVD at p = 40 %
MARKERS = "osD^v"

Styles = Mapping[str, Mapping[str, Any]]
Drawing = Callable[["Axes", Sequence[Entry], Styles], None]


def write_figures(found: Sequence[Entry], groups: Sequence[str], folder: Path) -> list[Path]:
    """Write the figures into ``folder`` and return their paths. A group looks the same in all of them."""
    import matplotlib

    matplotlib.use("svg")
    # The same results give the same file, without date or random names.
    matplotlib.rcParams.update({"svg.hashsalt": "ssvd", "svg.fonttype": "none", "font.size": 9})
    chosen = [entry for entry in found if entry.group in SSVD_MAPS]
    swept = [entry for entry in found if entry.group == SWEPT]
    styles = _styles(groups)
    drawings: dict[str, tuple[Sequence[Entry], Drawing]] = {
        "methods-wer-parameters": (found, _wer_parameters),
        "methods-convergence": (matched(found), _convergence),
        "methods-orthogonality": (chosen, _wer_parameters),
        "methods-p-sweep": (swept, _p_sweep),
        "methods-forgetting": (found, _forgetting),
    }
    return [_draw(folder / f"{name}.svg", of, draw, styles) for name, (of, draw) in drawings.items() if of]


def _styles(groups: Sequence[str]) -> Styles:
    """Return a colour and a marker for each group, since there are more groups than colours."""
    found: dict[str, dict[str, Any]] = {}
    for place, group in enumerate(dict.fromkeys(groups)):
        found[group] = {
            "color": f"C{place % 10}",
            "marker": MARKERS[(place // 10 * 2 + place % 2) % len(MARKERS)],
        }
    return found


def _draw(path: Path, found: Sequence[Entry], draw: Drawing, styles: Styles) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, len(DOMAINS), squeeze=False)[0]
    for domain, axes in zip(DOMAINS, panels, strict=True):
        axes.set_title(domain)
        draw(axes, [entry for entry in found if entry.domain == domain], styles)
        axes.grid(alpha=0.3)
    shown: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    if shown:
        figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    return path


def _groups(found: Sequence[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in sorted(found, key=lambda each: each.parameters):
        groups.setdefault(entry.group, []).append(entry)
    return dict(sorted(groups.items()))


def _wer_parameters(axes: Axes, found: Sequence[Entry], styles: Styles) -> None:
    for group, of in _groups(found).items():
        sizes, wers = [entry.parameters for entry in of], [100 * entry.wer for entry in of]
        low = [wer - 100 * entry.interval[0] for wer, entry in zip(wers, of, strict=True)]
        high = [100 * entry.interval[1] - wer for wer, entry in zip(wers, of, strict=True)]
        axes.errorbar(sizes, wers, [low, high], capsize=2, elinewidth=0.6, label=group, **styles[group])
    axes.set_xscale("log")
    axes.set_xlabel("trained parameters")
    axes.set_ylabel("WER (%), 95 % interval")


def _p_sweep(axes: Axes, found: Sequence[Entry], styles: Styles) -> None:
    for group, of in _groups(found).items():
        low = [100 * (entry.wer - entry.interval[0]) for entry in of]
        high = [100 * (entry.interval[1] - entry.wer) for entry in of]
        shares, wers = [100 * (entry.p or 0.0) for entry in of], [100 * entry.wer for entry in of]
        axes.errorbar(shares, wers, [low, high], capsize=2, elinewidth=0.6, label=group, **styles[group])
        axes.plot(shares, [100 * entry.adult for entry in of], ":", label="adult speech", color="grey")
        axes.axhline(100 * of[0].zero, linestyle="--", linewidth=0.8, color="grey", label="no adapter")
    axes.set_xlabel("p: directions that turn (%)")
    axes.set_ylabel("WER (%), 95 % interval")


def _convergence(axes: Axes, found: Sequence[Entry], styles: Styles) -> None:
    for entry in found:
        steps, accuracies = zip(*entry.curve, strict=True)
        axes.plot(steps, accuracies, label=entry.config, **styles[entry.group])
    axes.set_xlabel("step")
    axes.set_ylabel("token accuracy on validation data")


def _forgetting(axes: Axes, found: Sequence[Entry], styles: Styles) -> None:
    for group, of in _groups(found).items():
        wers, adult = [100 * entry.wer for entry in of], [100 * entry.adult for entry in of]
        axes.plot(wers, adult, label=group, **styles[group])
    axes.set_xlabel("WER on the domain (%)")
    axes.set_ylabel("WER on adult speech (%)")


def matched(found: Sequence[Entry]) -> list[Entry]:
    """Return the config nearest MATCHED_SIZE of each group in CONVERGING, on each domain."""
    return [
        min(of, key=lambda entry: abs(entry.parameters - MATCHED_SIZE))
        for domain in DOMAINS
        for group, of in _groups([entry for entry in found if entry.domain == domain]).items()
        if group in CONVERGING
    ]
