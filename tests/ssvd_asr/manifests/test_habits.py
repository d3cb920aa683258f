"""Manifests as people have them: corpora's own tables, spreadsheets, other systems' columns, odd paths."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Problem, Utterance

COMMON_VOICE = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\tvariant"
    "\tlocale\tsegment\n"
    'c1\tcommon_voice_1.mp3\ts1\t"Hello," she said\t\t2\t0\ttwenties\tfemale_feminine\t\t\ten\t\n'
)


def one(source: Path) -> Utterance | Problem:
    (entry,) = read_entries(source)
    return entry


def test_common_voices_table_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "validated.tsv").write_text(COMMON_VOICE)
    (tmp_path / "clips").mkdir()
    clip = tmp_path / "clips" / "common_voice_1.mp3"
    clip.touch()
    assert one(tmp_path / "validated.tsv") == Utterance(
        "validated.tsv:2", clip, '"Hello," she said', speaker="c1"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("quoted.csv", 'audio,text\n"a.wav","one, ""two"""\n'),
        ("semicolons.csv", 'audio;text\na.wav;"one, ""two"""\n'),  # of a spreadsheet in Germany
        ("spaces.csv", ' audio , text \n a.wav , "one, ""two"""\n'),
        ("bom.csv", '\ufeffaudio,text\r\na.wav,"one, ""two"""\r\n'),
        ("index.csv", ',audio,text\n0,a.wav,"one, ""two"""\n'),  # of pandas
        ("pandas.csv", 'Unnamed: 0,audio,text\n0,a.wav,"one, ""two"""\n'),
        ("speechbrain.csv", 'ID,duration,wav,spk_id,wrd\nu1,2.5,a.wav,s,"one, ""two"""\n'),
        ("UPPER.CSV", 'audio,text\na.wav,"one, ""two"""\n'),
        ("lines.csv", 'audio,text\n\na.wav,"one, ""two"""\n\n'),
        ("tabs.tsv", 'audio\ttext\na.wav\tone, "two"\n'),
        ("tabs.csv", 'audio\ttext\na.wav\tone, "two"\n'),
        (
            "nemo.json",
            '{"audio_filepath": "a.wav", "duration": 2.5, "text": "one, \\"two\\"", "lang": "en"}\n',
        ),
        ("list.json", '[\n {"audio": "a.wav", "text": "one, \\"two\\""}\n]\n'),
        ("list.json", '[{"audio": "a.wav", "text": "one, \\"two\\""}]'),
        ("UPPER.JSONL", '{"audio": "a.wav", "text": "one, \\"two\\""}\n'),
        ("spaces.jsonl", '{"audio": " a.wav ", "text": "one, \\"two\\""}  \n'),
    ],
)
def test_tables_and_json_of_many_hands_are_the_same_utterance(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_bytes(content.encode())
    with gzip.open(tmp_path / f"{name}.gz", "wb") as stream:
        stream.write(content.encode())
    for source in (tmp_path / name, tmp_path / f"{name}.gz"):
        found = one(source)
        assert isinstance(found, Utterance), found
        assert (found.audio, found.text) == (tmp_path / "a.wav", 'one, "two"')


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("audio,words\na.wav,x\n", "unknown key 'words'; the nearest known one is"),
        ("LJ001-0001|Printing|Printing\n", "unknown key"),
        ("audio,text,text\na.wav,x,y\n", "stands twice"),
        ('audio,text\na.wav,"x\n', "unexpected end of data"),
    ],
)
def test_a_table_that_is_not_understood_is_refused_as_a_whole(
    tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(DataError, match=told):
        read_entries(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("a.wav,x,1,y", "4 values for 3 columns"),
        ("a.wav,x", "2 values for 3 columns"),
        ("a.wav,x,soon", '"start_s" must be seconds'),
        ("a.wav,,1", 'no "text"'),
    ],
)
def test_a_row_that_is_not_understood_is_named(tmp_path: Path, row: str, told: str) -> None:
    (tmp_path / "m.csv").write_text(f"audio,text,start_s\n{row}\nb.wav,y,0.5\n")
    first, second = read_entries(tmp_path / "m.csv")
    assert isinstance(first, Problem)
    assert first.detail.startswith(f"row 2: {told}")
    assert second == Utterance("m.csv:3", tmp_path / "b.wav", "y", 0.5)


def test_a_list_that_ends_early_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('[{"audio": "a.wav", "text": "x"},')
    with pytest.raises(DataError, match="begins as a list"):
        read_entries(tmp_path / "m.json")


def test_a_path_of_windows_is_read_where_the_file_is_there_and_else_told(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").touch()
    lines = [{"audio": r"clips\a.wav", "text": "x"}, {"audio": r"C:\data\a.wav", "text": "y"}]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    first, second = read_entries(tmp_path / "m.jsonl")
    assert isinstance(first, Utterance)
    assert first.audio == tmp_path / "clips" / "a.wav"
    assert isinstance(second, Problem)
    assert second.reason == "unsupported source"
    assert "a path of Windows" in second.detail


def test_the_home_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.jsonl").write_text('{"audio": "~/a.wav", "text": "x"}\n')
    found = one(tmp_path / "m.jsonl")
    assert isinstance(found, Utterance)
    assert found.audio == tmp_path / "a.wav"


def test_a_linked_manifest_means_the_folder_of_the_link_and_then_its_own(tmp_path: Path) -> None:
    there = tmp_path / "corpus"
    there.mkdir()
    (there / "a.wav").touch()
    (there / "m.jsonl").write_text('{"audio": "a.wav", "text": "x"}\n')
    (tmp_path / "link.jsonl").symlink_to(there / "m.jsonl")
    found = one(tmp_path / "link.jsonl")
    assert isinstance(found, Utterance)
    assert found.audio == there / "a.wav"
    (tmp_path / "a.wav").touch()
    found = one(tmp_path / "link.jsonl")
    assert isinstance(found, Utterance)
    assert found.audio == tmp_path / "a.wav"


def test_a_manifest_from_a_pipe_is_refused_by_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="is no file"):
        read_entries(tmp_path / "pipe.jsonl")
