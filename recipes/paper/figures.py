"""The paper's figures (arXiv 2509.02830): data sizes, and word error rates of Tables IV-V."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ssvd_asr.base.owsm.shapes import SHAPES

# Parameter counts agree to the paper's rounding; two rows of one method differ by far more.
SAME_SIZE = 0.03
FREE = "ssvd-free"  # trains k^2 + k numbers per layer, twice a rotation's k(k - 1)/2 + k


@dataclass(frozen=True)
class PaperData:
    """The paper's sizes of a corpus after its filters."""

    title: str
    hours: int
    utterances: Mapping[str, int]


DATA = {
    "myst": PaperData("MyST", 179, {"train": 55_703, "valid": 9_047, "test": 10_328}),
    "cgn": PaperData("CGN", 341, {"train": 179_440, "valid": 25_766, "test": 51_615}),
}


@dataclass(frozen=True)
class Size:
    """A base of the paper's Table III, and the default share of directions that turn."""

    base: str  # hub tag
    p: float


SIZES = {
    "0.1b": Size("espnet/owsm_v3.1_ebf_base", 0.4),
    "1b": Size("espnet/owsm_v3.1_ebf", 0.4),
    "2b": Size("espnet/owls_2B_180K", 0.25),
}


@dataclass(frozen=True)
class PaperRow:
    """One published result; WER in percent, None where the paper has none."""

    size: str
    method: str  # name of `recipes.paper.options`; -cayley is the paper's "strict", -free its "none"
    setting: str
    millions: float  # trained parameters
    wer: Mapping[str, float | None]

    @property
    def printed_millions(self) -> float | None:
        """Trained parameters as printed, in millions; None for "none", where the paper prints only WER."""
        return None if self.method == FREE else self.millions

    @property
    def our_millions(self) -> float:
        """Parameters that `ssvd train` trains for this row, in millions.

        The paper's SVFT of band D adds a LoRA of rank D on the decoder's embedding
        (docs/results/paper-counts.md). Ours has none, as it stays in the shared basis.
        """
        if self.method != "svft-banded":
            return self.millions
        base = SHAPES[self.size if self.size != "2b" else "owls-2b"]
        assert base.vocabulary is not None
        return self.millions - int(self.setting.removeprefix("band ")) * (base.vocabulary + base.width) / 1e6


def _rows(size: str, method: str, *rows: tuple[str, float, float | None, float | None]) -> list[PaperRow]:
    return [PaperRow(size, method, name, m, {"myst": myst, "cgn": cgn}) for name, m, myst, cgn in rows]


# fmt: off
ROWS: tuple[PaperRow, ...] = (
    *_rows("0.1b", "zero-shot", ("", 0.0, 25.0, 65.7)),
    *_rows("0.1b", "full", ("", 101.0, 14.9, 17.8)),
    *_rows("0.1b", "lora", ("r 8", 2.07, 19.2, 25.2), ("r 16", 4.13, 17.3, 21.9), ("r 32", 8.26, 16.4, 19.7)),
    *_rows(
        "0.1b", "vera", ("r 32", 1.74, 22.4, None), ("r 64", 3.36, 21.1, None), ("r 128", 6.59, 20.2, None)
    ),
    *_rows("0.1b", "dora", ("r 8", 2.19, 21.2, 24.2), ("r 16", 4.26, 19.1, 21.9), ("r 32", 8.39, 17.8, 20.7)),
    *_rows(
        "0.1b", "pissa", ("r 8", 2.07, 19.1, 25.5), ("r 16", 4.13, 16.8, 22.1), ("r 32", 8.26, 16.0, 20.2)
    ),
    *_rows(
        "0.1b", "svft-banded", ("band 8", 1.23, 23.9, 36.7), ("band 16", 2.39, 20.4, 32.6),
        ("band 32", 4.67, 18.2, 28.6), ("band 64", 9.03, 16.8, 25.0),
    ),
    *_rows(
        "0.1b", "ssvd", ("40 %", 1.51, 18.4, 25.8), ("60 %", 3.67, 17.0, 22.9),
        ("80 %", 6.57, 16.2, 20.9),
    ),
    *_rows(
        "0.1b", "ssvd-cayley", ("40 %", 1.51, 18.6, None), ("60 %", 3.67, 17.2, None),
        ("80 %", 6.57, 16.3, None),
    ),
    *_rows(
        "0.1b", FREE, ("40 %", 2 * 1.51, 17.0, None), ("60 %", 2 * 3.67, 16.9, None),
        ("80 %", 2 * 6.57, 15.6, None),
    ),
    *_rows("1b", "zero-shot", ("", 0.0, 19.3, 46.3)),
    *_rows("1b", "full", ("", 1010.0, 12.4, 17.7)),
    *_rows("1b", "lora", ("", 10.56, 17.6, 18.0), ("", 21.13, 16.1, 16.3), ("", 42.26, 15.1, 15.1)),
    *_rows("1b", "vera", ("r 256", 13.82, 18.7, None), ("r 384", 20.40, 17.7, None)),
    *_rows("1b", "dora", ("", 11.22, 16.7, 19.6), ("", 21.76, 15.3, 19.1), ("", 42.92, 14.2, 18.4)),
    *_rows("1b", "pissa", ("", 10.56, 16.8, 18.6), ("", 21.13, 15.4, 16.7), ("", 42.26, 14.3, 15.3)),
    *_rows(
        "1b", "svft-banded", ("band 8", 7.00, 19.0, 27.2), ("band 16", 13.55, 16.3, 25.1),
        ("band 32", 26.52, 15.1, 21.7), ("band 64", 51.88, 14.2, 19.5),
    ),
    *_rows(
        "1b", "ssvd", ("22 %", 9.83, 15.3, 18.5), ("25 %", 12.50, 14.5, None), ("29 %", 16.26, 14.1, 16.8),
        ("33 %", 22.16, 14.1, None), ("40 %", 31.86, 13.8, 15.4),
    ),
    *_rows(
        "1b", "ssvd-cayley", ("22 %", 9.83, 15.1, None), ("25 %", 12.50, 14.9, None),
        ("29 %", 16.26, 14.5, None), ("33 %", 22.16, 14.2, None), ("40 %", 31.86, 13.8, None),
    ),
    *_rows(
        "1b", FREE, ("22 %", 2 * 9.83, 14.9, None), ("25 %", 2 * 12.50, 14.6, None),
        ("29 %", 2 * 16.26, 13.8, None), ("33 %", 2 * 22.16, 13.7, None), ("40 %", 2 * 31.86, 13.3, None),
    ),
    *_rows("2b", "zero-shot", ("", 0.0, 20.3, None)),
    *_rows("2b", "full", ("", 2300.0, 13.1, None)),
    *_rows("2b", "lora", ("", 12.69, 18.3, None), ("", 25.39, 16.9, None), ("", 50.78, 15.6, None)),
    *_rows("2b", "vera", ("", 14.16, 19.1, None), ("", 20.86, 18.0, None)),
    *_rows("2b", "dora", ("", 13.47, 17.1, None), ("", 26.16, 16.1, None), ("", 51.55, 15.2, None)),
    *_rows("2b", "pissa", ("", 12.69, 17.4, None), ("", 25.39, 16.1, None), ("", 50.78, 15.0, None)),
    *_rows(
        "2b", "svft-banded", ("band 8", 9.38, 19.9, None), ("band 16", 18.20, 17.3, None),
        ("band 32", 35.74, 15.3, None),
    ),
    *_rows(
        "2b", "ssvd", ("17 %", 15.04, 15.1, None), ("20 %", 21.63, 14.7, None),
        ("25 %", 33.88, 14.6, None),
    ),
    *_rows(
        "2b", "ssvd-cayley", ("17 %", 15.04, 15.2, None), ("20 %", 21.63, 14.7, None),
        ("25 %", 33.88, 14.4, None),
    ),
    *_rows(
        "2b", FREE, ("17 %", 2 * 15.04, 14.9, None), ("20 %", 2 * 21.63, 14.6, None),
        ("25 %", 2 * 33.88, 14.3, None),
    ),
)
# fmt: on


def same_row(row: PaperRow, size: str, method: str, parameters: int) -> bool:
    """Return whether our run matches the row: base size, method, and parameters within SAME_SIZE."""
    off = abs(parameters / 1e6 - row.our_millions)
    return (row.size, row.method) == (size, method) and off <= SAME_SIZE * row.our_millions
