"""Manifests as people have them: corpora's own tables, spreadsheets, other systems' columns, odd paths."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from ssvd_asr.errors import DataError
from ssvd_asr.manifests.audio import why_missing
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
        ("lines.csv", 'audio|text\na.wav|one, "two"\n'),
        ("parquet.csv", '__index_level_0__,audio,text\n0,a.wav,"one, ""two"""\n'),  # of pandas
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
        ("a.wav,x,1_0", '"start_s" must be seconds'),
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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["m.tsv", "m.csv", "m.tsv.gz"])
def test_a_spreadsheets_unicode_text_is_read(tmp_path: Path, name: str, encoding: str) -> None:
    text = "" if encoding == "utf-16" else "\ufeff"
    content = f"{text}audio\ttext\r\na.wav\tgrüß dich\r\n".encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert one(tmp_path / name) == Utterance(f"{name}:2", tmp_path / "a.wav", "grüß dich")


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_bytes_that_are_no_text_are_refused_as_a_whole(tmp_path: Path, name: str) -> None:
    for content, told in (
        ("audio,text\na.wav,x\n".encode("utf-16-le"), "zero byte"),
        ("audio,text\na.wav,x\n".encode("utf-32"), "zero byte"),
        ("audio,text\na.wav,café\n".encode("latin-1"), "not readable as UTF-8"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=told):
            read_entries(tmp_path / name)


def test_a_zero_byte_that_json_spells_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": "a.wav", "text": "he\0llo"}) + "\n")
    found = one(tmp_path / "m.jsonl")
    assert isinstance(found, Problem)
    assert '"text" holds a zero byte' in found.detail


@pytest.mark.parametrize(("cell", "channel"), [("0", 0), ("1", 1), ("mix", "mix"), ("", "mix")])
def test_a_table_may_name_a_channel(tmp_path: Path, cell: str, channel: int | str) -> None:
    (tmp_path / "m.csv").write_text(f"audio,text,channel\na.wav,x,{cell}\n")
    found = one(tmp_path / "m.csv")
    assert isinstance(found, Utterance)
    assert found.channel == channel


@pytest.mark.parametrize("cell", ["-1", "1.0", "left", "²"])
def test_a_channel_that_is_no_number_is_malformed(tmp_path: Path, cell: str) -> None:
    (tmp_path / "m.csv").write_text(f"audio,text,channel\na.wav,x,{cell}\n")
    found = one(tmp_path / "m.csv")
    assert isinstance(found, Problem)
    assert '"channel" must be the number' in found.detail


@pytest.mark.parametrize("separator", ["\t", "|"])
def test_no_half_of_a_text_with_a_line_break_is_used(tmp_path: Path, separator: str) -> None:
    rows = [["audio", "text"], ["a.wav", '"the first half'], ['and the rest"'], ["b.wav", "x"]]
    (tmp_path / "m.tsv").write_text("".join(separator.join(row) + "\n" for row in rows))
    half, rest, whole = read_entries(tmp_path / "m.tsv")
    assert isinstance(half, Problem)
    assert "a line break" in half.detail
    assert isinstance(rest, Problem)
    assert isinstance(whole, Utterance)


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_a_file_of_several_splits_is_not_trained_on(tmp_path: Path, name: str) -> None:
    splits = ["train", "train", "test"]
    if name.endswith(".csv"):
        lines = ["audio,text,split", *(f"{number}.wav,x,{split}" for number, split in enumerate(splits))]
    else:
        lines = [
            json.dumps({"audio": f"{n}.wav", "text": "x", "split": each}) for n, each in enumerate(splits)
        ]
    (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"several splits \('train', 'test'\)"):
        read_entries(tmp_path / name)
    assert len(read_entries(tmp_path / name, needs_text=False)) == 3  # who transcribes may want all


@pytest.mark.parametrize(
    "found",
    [
        {"audio": "a.wav", "text": "x"},  # one entry over several lines
        {"u1": {"wav": "a.wav", "words": "x"}, "u2": {"wav": "b.wav", "words": "y"}},  # SpeechBrain
        {"audio": {"0": "a.wav"}, "text": {"0": "x"}},  # pandas
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_file_that_is_one_object_is_told_as_such(
    tmp_path: Path, found: dict[str, object], indent: int | None
) -> None:
    (tmp_path / "m.json").write_text(json.dumps(found, indent=indent))
    if indent is None and found["audio" if "audio" in found else "u1"] == "a.wav":
        assert isinstance(one(tmp_path / "m.json"), Utterance)
        return
    with pytest.raises(DataError, match="one object, not a list"):
        read_entries(tmp_path / "m.json")


def test_a_file_name_that_is_not_utf_8_can_be_named(tmp_path: Path) -> None:
    audio = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    audio.touch()
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": audio.name, "text": "x"}) + "\n")
    assert one(tmp_path / "m.jsonl") == Utterance("m.jsonl:1", audio, "x")
    (tmp_path / "m.jsonl").write_text('{"audio": "caf\\ud800.wav", "text": "x"}\n')
    assert isinstance(one(tmp_path / "m.jsonl"), Problem)


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "loop.wav"])
def test_a_path_that_leads_nowhere_is_one_missing_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": name, "text": "x"}) + "\n")
    (tmp_path / "wav.scp").write_text(f"u {name}\n")
    (tmp_path / "text").write_text("u x\n")
    for source in (tmp_path / "m.jsonl", tmp_path):
        found = one(source)
        assert isinstance(found, Utterance)
        told = why_missing(found.audio)
        assert told is not None
        assert len(told) < 300


def test_a_value_is_not_told_in_full(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio": "a.wav", "text": ["x" * 10_000]}) + "\n")
    found = one(tmp_path / "m.jsonl")
    assert isinstance(found, Problem)
    assert len(found.detail) < 200


def test_a_folder_without_data_names_what_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.csv").touch()
    (tmp_path / "train.tsv").touch()
    with pytest.raises(DataError, match=r"no folder of data.*name what is meant: train, train.tsv"):
        read_entries(tmp_path)
