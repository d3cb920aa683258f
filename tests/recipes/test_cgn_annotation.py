"""CGN's annotation: TextGrids as Praat reads them, transcripts as words."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from recipes.cgn.textgrid import Interval, read_textgrid
from recipes.cgn.words import is_unintelligible, words_of
from ssvd_asr.errors import DataError
from tests.recipes.praat import short_textgrid


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_textgrid_is_read_back_as_it_was_written(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.ort"
    path.write_bytes(short_textgrid({"N1": [(1.0, 2.5, 'hè "ja" 3.0')], "N2": []}, 4.0).encode(encoding))
    first, second = read_textgrid(path)
    assert first.intervals == (
        Interval(0.0, 1.0, ""), Interval(1.0, 2.5, 'hè "ja" 3.0'), Interval(2.5, 4.0, ""),
    )  # fmt: skip
    assert (second.name, [interval.text for interval in second.intervals]) == ("N2", [""])


def test_praats_long_format_and_point_tiers_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.ort"
    header = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\n'
    points = (
        ' item [1]:\n  class = "TextTier"\n  name = "marks"\n  xmin = 0\n  xmax = 2\n  points: size = 1\n'
    )
    point = '  points [1]:\n   number = 1.5\n   mark = "x"\n'
    tier = (
        ' item [2]:\n  class = "IntervalTier"\n  name = "N1"\n  xmin = 0\n  xmax = 2\n  intervals: size = 1\n'
    )
    interval = '  intervals [1]:\n   xmin = 0\n   xmax = 2\n   text = "ja"\n'
    path.write_text(header + "tiers? <exists>\nsize = 2\nitem []:\n" + points + point + tier + interval)
    (found,) = read_textgrid(path)
    assert (found.name, found.intervals) == ("N1", (Interval(0.0, 2.0, "ja"),))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it ends where a string"),
        (b'"ooTextFile short"\n"Sound"\n', "does not begin"),
        (
            b'"ooTextFile short"\n"TextGrid"\n\n0\n1\n<exists>\n1\n"IntervalTier"\n7\n',
            "line 9: expected a string",
        ),
        (b'"ooTextFile short"\n"TextGrid"\n\n0\n1\n<exists>\n1.5\n', "expected a count"),
        (b'"ooTextFile short"\n"TextGrid"\n\n0\n1\n<exists>\n1\n"Tier"\n"N1"\n0\n1\n0\n', "unknown kind"),
    ],
)
def test_a_broken_textgrid_is_refused_by_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "a.ort"
    path.write_bytes(content)
    with pytest.raises(DataError, match=expected):
        read_textgrid(path)


def test_a_damaged_gz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ort.gz"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-12])
    with pytest.raises(DataError, match="cannot be read"):
        read_textgrid(path)


@pytest.mark.parametrize(
    ("transcript", "words"),
    [
        ("ja dat 's 'n zee-egel*d. ggg", ["ja", "dat", "'s", "'n", "zee-egel"]),
        ("'t is zo'n ge*a gedoe*u?", ["'t", "is", "zo'n", "ge", "gedoe"]),
        ("caf&eacute;*v ... hè!", ["café", "hè"]),
        ("Jan*n mmm*x, toch*z.", ["Jan", "mmm", "toch"]),
        ("ggg. - ...", []),
    ],
)
def test_marks_go_and_words_stay(transcript: str, words: list[str]) -> None:
    assert words_of(transcript) == words
    assert not is_unintelligible(words)


@pytest.mark.parametrize("transcript", ["xxx.", "ja Xxx zei*d", "ik xxx*x", "zei-xxx"])
def test_unheard_words_are_noticed(transcript: str) -> None:
    assert is_unintelligible(words_of(transcript))
