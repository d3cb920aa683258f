"""A Kaldi directory gives its utterances; what is not understood is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Problem, Utterance


def write_clip(path: Path, seconds: float = 2.0) -> Path:
    sf.write(path, np.zeros(round(16_000 * seconds), np.float32), 16_000)
    return path


def reasons(source: Path) -> dict[str, str]:
    return {entry.id: entry.reason for entry in read_entries(source) if isinstance(entry, Problem)}


def test_kaldi_directory_with_segments(tmp_path: Path) -> None:
    write_clip(tmp_path / "rec.wav")
    (tmp_path / "wav.scp").write_text(f"rec rec.wav\nabs {tmp_path}/rec.wav\npipe sox a.wav -t wav - |\n")
    (tmp_path / "segments").write_text(
        "u1 rec 0.5 1.5\nu2 abs 0.0 -1\nu3 pipe 0 1\nu4 gone 0 1\nu5 rec 2 1\nu6 rec x y\nu7 rec 0 1\n"
    )
    (tmp_path / "text").write_text("u1 hello there\nu2 two\nu3 c\nu4 d\nu5 e\nu6 f\nu9 lost\n")
    (tmp_path / "utt2spk").write_text("u1 anna\n")
    found = [entry for entry in read_entries(tmp_path) if isinstance(entry, Utterance)]
    assert found == [
        Utterance("u1", tmp_path / "rec.wav", "hello there", 0.5, 1.0, "anna"),
        Utterance("u2", tmp_path / "rec.wav", "two", 0.0, None),
    ]
    assert reasons(tmp_path) == {
        "u3": "unsupported source",
        "u4": "missing file",
        "u5": "malformed entry",
        "u6": "malformed entry",
        "u7": "empty text",
        "u9": "missing file",
    }


def test_kaldi_directory_without_segments_takes_whole_files(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("a /data/with space/a.wav\nb /data/b.wav\n")
    (tmp_path / "text").write_text("a one\nb\n")
    assert read_entries(tmp_path) == [
        Utterance("a", Path("/data/with space/a.wav"), "one"),
        Utterance("b", Path("/data/b.wav"), ""),
    ]


def directory(folder: Path, **files: str) -> Path:
    """A data directory with these files; `wav_scp` is wav.scp."""
    for name, content in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_bytes(content.encode())
    return folder


def details(source: Path) -> list[tuple[str, str]]:
    return [(entry.reason, entry.detail) for entry in read_entries(source) if isinstance(entry, Problem)]


def test_byte_order_marks_crlf_and_tabs_change_nothing(tmp_path: Path) -> None:
    source = directory(
        tmp_path,
        wav_scp="\ufeffrec\t/data/a.wav\r\n",
        segments="\ufeffu1\trec\t0.5\t1.5\r\n",
        text="\ufeffu1\tone two\r\n",
        utt2spk="\ufeffu1 anna\r\n",
    )
    assert read_entries(source) == [Utterance("u1", Path("/data/a.wav"), "one two", 0.5, 1.0, "anna")]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("sox a.wav -t wav - |", "a command"),
        ("| cat a.wav", "a command"),
        ("/data/raw.ark:1234", "archive"),
        ("https://x/a.wav", "a URL"),
        ("s3://x/a.wav", "a URL"),
        ("file:///x/a.wav", "without file://"),
    ],
)
def test_what_is_no_file_is_refused_with_the_reason(tmp_path: Path, value: str, told: str) -> None:
    ((reason, detail),) = details(directory(tmp_path, wav_scp=f"a {value}\n", text="a one\n"))
    assert reason == "unsupported source"
    assert told in detail


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"wav_scp": "rec a.wav\nrec b.wav\n"}, "wav.scp: lines 1 and 2 differ"),
        ({"text": "u1 one\n\nu1 two\n"}, "text: lines 1 and 3 differ"),
        ({"segments": "u1 rec 0 1\nu1 rec 1 2\n"}, "segments: lines 1 and 2 differ"),
        ({"utt2spk": "u1 anna\nu1 ben\n"}, "utt2spk: lines 1 and 2 differ"),
    ],
)
def test_lines_that_differ_for_a_key_are_not_chosen_from(
    tmp_path: Path, changed: dict[str, str], told: str
) -> None:
    files = {"wav_scp": "rec a.wav\n", "text": "u1 one\n", "segments": "u1 rec 0 1\n", **changed}
    source = directory(tmp_path, **files)
    assert [type(entry) for entry in read_entries(source)] == [Problem]
    assert details(source) == [("duplicate id", told)]


def test_equal_lines_for_a_key_are_used_once_and_reported(tmp_path: Path) -> None:
    source = directory(
        tmp_path,
        wav_scp="rec /data/a.wav\nrec /data/a.wav\n",
        segments="u1 rec 0 1\nu1 rec 0 1\n",
        text="u1 one\nu1 one\n",
    )
    found = [entry for entry in read_entries(source) if isinstance(entry, Utterance)]
    assert found == [Utterance("u1", Path("/data/a.wav"), "one", 0.0, 1.0)]
    assert sorted(details(source)) == [
        ("duplicate id", f"{name}: line 2 repeats line 1") for name in ("segments", "text", "wav.scp")
    ]


def test_an_empty_segments_file_gives_no_utterance(tmp_path: Path) -> None:
    source = directory(tmp_path, wav_scp="a a.wav\n", text="a one\n", segments="")
    assert details(source) == [("missing file", f"{tmp_path.name}/text names it, segments does not")]


@pytest.mark.parametrize("times", ["nan 1", "0 inf", "0 nan", "-inf 1", "1", "0 1 2 3", "1_0 2_0"])
def test_impossible_times_are_malformed(tmp_path: Path, times: str) -> None:
    source = directory(tmp_path, wav_scp="a a.wav\n", text="u one\n", segments=f"u a {times}\n")
    assert reasons(source) == {"u": "malformed entry"}


def channels(source: Path) -> dict[str, int | str]:
    return {entry.id: entry.channel for entry in read_entries(source) if isinstance(entry, Utterance)}


def two_kinds(tmp_path: Path, reco2file_and_channel: str) -> Path:
    write_clip(tmp_path / "mono.wav")
    sf.write(tmp_path / "stereo.wav", np.zeros((16_000, 2), np.float32), 16_000)
    return directory(
        tmp_path,
        wav_scp="m mono.wav\ns stereo.wav\nt stereo.wav\nfree stereo.wav\ngone gone.wav\n",
        text="m one\ns two\nt three\nfree four\ngone five\n",
        reco2file_and_channel=reco2file_and_channel,
    )


def test_a_letter_chooses_a_channel_of_a_file_that_has_several(tmp_path: Path) -> None:
    source = two_kinds(tmp_path, "m call B\ns call A\nt call b\ngone call B\n")
    assert channels(source) == {"m": "mix", "s": 0, "t": 1, "free": "mix", "gone": "mix"}


def test_a_number_chooses_a_channel_only_where_counting_starts_at_0(tmp_path: Path) -> None:
    source = two_kinds(tmp_path, "s call 0\nt call 1\n")
    assert channels(source) == {"m": "mix", "s": 0, "t": 1, "free": "mix", "gone": "mix"}
    (source / "reco2file_and_channel").write_text("s call 1\nt call 2\n")
    assert channels(source) == {"m": "mix", "free": "mix", "gone": "mix"}
    ((reason, detail), _) = details(source)
    assert reason == "malformed entry"
    assert "chooses channel '1'; write A for the first" in detail


def test_segments_choose_a_channel_counted_from_0(tmp_path: Path) -> None:
    source = two_kinds(tmp_path, "s call B\n")
    (source / "segments").write_text("u s 0 1 1\nv t 0 1 0\nw m 0 1 -1\nx s 0 1 0\ny t 0 1 A\n")
    (source / "text").write_text("u one\nv two\nw three\nx four\ny five\n")
    assert channels(source) == {"u": 1, "v": 0, "w": "mix"}
    assert details(source) == [
        ("malformed entry", "reco2file_and_channel chooses channel 1, segments channel 0"),
        ("malformed entry", "the channel in segments must be a number from 0, found 'A'"),
    ]
