"""Files of Whisper's figures and of chosen utterances: read, or refused by the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.myst.filters import read_figures, read_ids, wer_of
from ssvd_asr.errors import DataError


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"id": "a", "wer": 0}\n{"id": "a"}', 'jsonl:2 is no object with "id" and "wer" or "hyp"'),
        ('{"id": "a", "wer": -1}', "ratio"),
        ('{"id": "a", "wer": NaN}', "ratio"),
        ('{"id": "a", "wer": 12.5}\n{"id": "b", "wer": 40}' + '\n{"id": "c", "wer": 0}' * 9, "per cent"),
        ('["a", 0.5]', "jsonl:1"),
        ("nonsense", "jsonl:1"),
        ("\n", "holds no line"),
    ],
)
def test_a_bad_file_of_figures_is_refused_by_its_line(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "whisper.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=expected):
        read_figures(path)


def test_words_are_compared_as_everything_is_scored(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a The small boat.\nb\n")
    figures = read_figures(path)
    assert wer_of(figures, "a", "THE SMALL BOAT") == 0
    assert wer_of(figures, "b", "THE SMALL BOAT") == 1
    assert wer_of(figures, "c", "THE SMALL BOAT") is None


def test_a_list_may_be_of_ids_alone_or_kaldi_text(tmp_path: Path) -> None:
    path = tmp_path / "test.list"
    path.write_text("a\nb some words\n\n")
    assert read_ids(path) == {"a", "b"}
    with pytest.raises(DataError, match="cannot be read"):
        read_ids(tmp_path / "nowhere")
