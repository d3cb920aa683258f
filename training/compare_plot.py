"""Picture of a comparison of two adapters: a point for each layer, bars of their WER on each other's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw the result of `ssvd adapters compare` into a file whose ending says its format.

    Raises DataError for an ending that matplotlib does not know.
    """
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "ssvd", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot as plt

    from ssvd_asr.errors import DataError

    layers, rates = result["layers"], result["wer"]
    figure, axes = plt.subplots(1, 2 + bool(rates), figsize=(5 * (2 + bool(rates)), 3.6), squeeze=False)
    try:
        if path.suffix.removeprefix(".").lower() not in figure.canvas.get_supported_filetypes():
            raise DataError(f"--plot {path}: a picture ends in .svg, .png or .pdf")
        cosines, angles = axes[0][0], axes[0][1]
        parts = ("encoder", "decoder")
        for part, marker in zip((*parts, "other"), "os^", strict=True):
            places = [
                place
                for place, each in enumerate(layers)
                if each["layer"].partition(".")[0] == part
                or (part == "other" and each["layer"].partition(".")[0] not in parts)
            ]
            if places:
                cosines.plot(places, [layers[place]["cosine"] for place in places], marker, ms=3, label=part)
                angles.plot(
                    places,
                    [layers[place]["angle_deg"] for place in places],
                    marker, ms=3, label=part,
                )  # fmt: skip
        cosines.axhline(result["cosine"], lw=0.8, label="all layers")
        cosines.set(title="cosine of the changes", xlabel="layer", ylim=(-1.05, 1.05))
        angles.plot([each["chance_deg"] for each in layers], "k-", lw=0.8, label="random directions")
        angles.set(title="mean principal angle (degrees)", xlabel="layer", ylim=(0, 95))
        if rates:
            bars, names = axes[0][2], {"base": "base", "a": result["a"], "b": result["b"]}
            for shift, (name, label) in enumerate(names.items()):
                heights = [100 * each[name] for each in rates.values()]
                bars.bar(
                    [place + 0.27 * (shift - 1) for place in range(len(rates))], heights, 0.25, label=label
                )
            owners = [f"data of {result[which.removeprefix('data_')]}" for which in rates]
            bars.set_xticks(range(len(rates)), owners)
            bars.set(title="WER (%)")
        for each in axes[0]:
            each.legend(fontsize=7)
        figure.suptitle(f"{result['a']} and {result['b']}")
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    finally:
        plt.close(figure)
