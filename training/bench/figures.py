"""The figures of `ssvd bench methods`, as SVG: one panel a domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssvd_asr.errors import SsvdError
from training.bench.study import DOMAINS
from training.bench.tables import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SSVD_MAPS = ("ssvd cayley", "ssvd first-order", "ssvd free")
SWEPT = "ssvd first-order"


def write_figures(found: Sequence[Entry], folder: Path) -> list[Path]:
    """Write them into ``folder``; the paths. Raises SsvdError without matplotlib."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise SsvdError("the figures need matplotlib: pip install ssvd-asr[benchmark]") from error
    matplotlib.use("svg")
    # The same results give the same file: no date, no random names.
    matplotlib.rcParams.update({"svg.hashsalt": "ssvd", "svg.fonttype": "none", "font.size": 9})
    chosen = [entry for entry in found if entry.group in SSVD_MAPS]
    swept = [entry for entry in found if entry.group == SWEPT]
    drawings: dict[str, tuple[Sequence[Entry], Callable[[Axes, Sequence[Entry]], None]]] = {
        "methods-wer-parameters": (found, _wer_parameters),
        "methods-convergence": (_middle(found), _convergence),
        "methods-orthogonality": (chosen, _wer_parameters),
        "methods-p-sweep": (swept, _wer_parameters),
        "methods-forgetting": (found, _forgetting),
    }
    return [_draw(folder / f"{name}.svg", of, draw) for name, (of, draw) in drawings.items() if of]


def _draw(path: Path, found: Sequence[Entry], draw: Callable[[Axes, Sequence[Entry]], None]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, len(DOMAINS), squeeze=False)[0]
    for domain, axes in zip(DOMAINS, panels, strict=True):
        axes.set_title(domain)
        draw(axes, [entry for entry in found if entry.domain == domain])
        axes.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    return path


def _groups(found: Sequence[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in sorted(found, key=lambda each: each.parameters):
        groups.setdefault(entry.group, []).append(entry)
    return dict(sorted(groups.items()))


def _wer_parameters(axes: Axes, found: Sequence[Entry]) -> None:
    for group, of in _groups(found).items():
        sizes, wers = [entry.parameters for entry in of], [100 * entry.wer for entry in of]
        low = [wer - 100 * entry.interval[0] for wer, entry in zip(wers, of, strict=True)]
        high = [100 * entry.interval[1] - wer for wer, entry in zip(wers, of, strict=True)]
        bars = [[max(0.0, value) for value in side] for side in (low, high)]
        axes.errorbar(sizes, wers, bars, marker="o", capsize=2, elinewidth=0.6, label=group)
    axes.set_xscale("log")
    axes.set_xlabel("trained parameters")
    axes.set_ylabel("WER (%), 95 % interval")


def _convergence(axes: Axes, found: Sequence[Entry]) -> None:
    for entry in found:
        steps, accuracies = zip(*entry.curve, strict=True)
        axes.plot(steps, accuracies, marker=".", label=entry.config)
    axes.set_xlabel("step")
    axes.set_ylabel("token accuracy on validation data")


def _forgetting(axes: Axes, found: Sequence[Entry]) -> None:
    for group, of in _groups(found).items():
        axes.plot(
            [100 * entry.wer for entry in of], [100 * entry.adult for entry in of], marker="o", label=group
        )
    axes.set_xlabel("WER on the domain (%)")
    axes.set_ylabel("WER on adult speech (%)")


def _middle(found: Sequence[Entry]) -> list[Entry]:
    """One of each group: the one with the median number of parameters on each domain."""
    chosen = []
    for domain in DOMAINS:
        for of in _groups([entry for entry in found if entry.domain == domain]).values():
            chosen.append(of[len(of) // 2])
    return chosen
