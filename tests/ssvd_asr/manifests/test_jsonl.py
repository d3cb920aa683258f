"""A manifest line is read by the names of its fields; one that is not fully understood is named."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from adapters_store.packaged import PACKAGED
from ssvd_asr.audio.read import AudioLimits
from ssvd_asr.errors import AudioError
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Problem, Utterance
from tests.training.conftest import write_manifest


def one(folder: Path, line: object) -> Utterance | Problem:
    """The entry of a manifest of one line."""
    (entry,) = read_entries(write_manifest(folder / "m.jsonl", [line]))
    return entry


def test_jsonl_gives_utterances_with_paths_relative_to_its_folder(tmp_path: Path) -> None:
    source = write_manifest(
        tmp_path / "m.jsonl",
        [
            {"audio": "a.wav", "text": "one"},
            "",
            {
                "audio": "/abs/b.wav",
                "text": "two",
                "start_s": 1,
                "duration_s": 2.5,
                "speaker": "s",
                "id": "x",
            },
        ],
    )
    assert read_entries(source) == [
        Utterance("m.jsonl:1", tmp_path / "a.wav", "one"),
        Utterance("x", Path("/abs/b.wav"), "two", 1.0, 2.5, "s"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '{"text": "no audio"}',
        '{"audio": 3, "text": "x"}',
        '{"audio": "a", "text": null}',
        '{"audio": "a", "text": "x", "start_s": -1}',
        '{"audio": "a", "text": "x", "start_s": NaN}',
        '{"audio": "a", "text": "x", "start_s": true}',
        '{"audio": "a", "text": "x", "duration_s": 0}',
        '{"audio": "a", "text": "x", "duration_s": "3"}',
        '{"audio": "a", "text": "x", "channel": -1}',
        '{"audio": "a", "text": "x", "channel": "1"}',
        '{"audio": "a", "text": "x", "channel": "each"}',
        '{"audio": "a", "text": "x", "channel": true}',
    ],
)
def test_a_malformed_line_is_named_and_the_others_are_read(tmp_path: Path, line: str) -> None:
    source = write_manifest(tmp_path / "m.jsonl", [line, {"audio": "a.wav", "text": "one"}])
    first, second = read_entries(source)
    assert isinstance(first, Problem)
    assert first.reason == "malformed entry"
    assert first.id == "m.jsonl:1"
    assert isinstance(second, Utterance)


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ({"audio_filepath": "a.wav", "text": "x", "offset": 1.5, "duration": 2}, (1.5, 2.0, None)),
        ({"audio_filepath": "a.wav", "text": "x", "duration": 2}, (0.0, None, 2.0)),
        ({"audio_filepath": "a.wav", "text": "x", "offset": 0, "duration": 2}, (0.0, 2.0, None)),
        ({"audio_filepath": "a.wav", "text": "x", "offset": None, "duration": 2}, (0.0, None, 2.0)),
        ({"audio": "a.wav", "text": "x", "start_s": 3}, (3.0, None, None)),
        ({"audio": "a.wav", "text": "x", "duration_s": 2}, (0.0, 2.0, None)),
        ({"audio": "a.wav", "text": "x", "duration_s": 2, "duration": 2.0}, (0.0, 2.0, None)),
        ({"path": "a.wav", "sentence": "x"}, (0.0, None, None)),
        ({"file_name": "a.wav", "transcription": "x"}, (0.0, None, None)),
        ({"audio": "a.wav", "path": "a.wav", "text": "x", "sentence": "x"}, (0.0, None, None)),
    ],
)
def test_fields_are_read_by_the_names_of_others(
    tmp_path: Path, line: dict[str, object], read: tuple[float, float | None, float | None]
) -> None:
    start_s, duration_s, file_s = read
    assert one(tmp_path, line) == Utterance(
        "m.jsonl:1", tmp_path / "a.wav", "x", start_s, duration_s, None, file_s
    )


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("durations_s", "duration_s"),
        ("start", "start_s"),
        ("Text", "text"),
        ("audio_file_path", "audio_filepath"),
        ("speakers", "speaker"),
        ("transcript", "transcription"),
    ],
)
def test_an_unknown_key_is_named_with_its_nearest(tmp_path: Path, key: str, nearest: str) -> None:
    found = one(tmp_path, {"audio": "a.wav", "text": "x", key: 1})
    assert isinstance(found, Problem)
    assert found.reason == "malformed entry"
    assert f"unknown key '{key}'; the nearest known one is '{nearest}'" in found.detail


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"audio": "a.wav", "audio_filepath": "b.wav", "text": "x"}, '"audio_filepath" is'),
        ({"audio": "a.wav", "text": "x", "sentence": "y"}, '"sentence" is'),
        ({"audio": "a.wav", "text": "x", "start_s": 1, "offset": 2}, '"offset" is'),
        ({"audio": "a.wav", "text": "x", "duration_s": 1, "duration": 2}, '"duration" is'),
        ({"audio": {"path": "a.wav"}, "path": "a.wav", "text": "x"}, '"path" is'),
        ('{"audio": "a.wav", "text": "x", "text": "y"}', "'text' stands twice"),
        ({"audio": "a.wav", "text": "half \ud800"}, "half a character"),
        ({"audio": "half \ud800", "text": "x"}, "half a character"),
        ({"audio": "a\0.wav", "text": "x"}, "must be a path"),
        ({"audio": "a.wav", "text": "x", "id": ["a"]}, '"id" must be'),
        ({"audio": "a.wav", "text": "x", "speaker": True}, '"speaker" must be'),
        ({"audio": "a.wav", "text": "x", "duration": 10**400}, '"duration" must be'),
        ('{"audio": "a.wav", "text": ' + "[" * 100_000, "nested"),
        ('{"audio": "a.wav", "text": "x", "start_s": ' + "9" * 5000 + "}", "limit"),
    ],
)
def test_what_is_ambiguous_is_malformed(tmp_path: Path, line: object, told: str) -> None:
    found = one(tmp_path, line)
    assert isinstance(found, Problem)
    assert found.reason == "malformed entry"
    assert found.id == "m.jsonl:1"
    assert told in found.detail
    json.dumps([found.audio, found.detail], ensure_ascii=False).encode()  # as the report is written


@pytest.mark.parametrize("url", ["http://x/a.wav", "https://x/a.wav", "s3://x/a.wav", "file:///a.wav"])
def test_a_url_is_no_missing_file(tmp_path: Path, url: str) -> None:
    found = one(tmp_path, {"audio": url, "text": "x", "id": "u"})
    assert isinstance(found, Problem)
    assert (found.id, found.audio, found.reason) == ("u", url, "unsupported source")
    assert "URL" in found.detail


def test_only_the_first_of_an_id_is_used(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "audio": "https://x/a.wav", "text": "not usable"},
        {"id": "a", "audio": "a.wav", "text": "one"},
        {"id": "b", "audio": "b.wav", "text": "two"},
        {"id": "a", "audio": "c.wav", "text": "three"},
        {"id": "a", "audio": "a.wav", "text": "one"},
    ]
    _, first, _, *later = read_entries(write_manifest(tmp_path / "m.jsonl", lines))
    assert isinstance(first, Utterance)
    assert first.text == "one"
    assert later == [
        Problem("a", str(tmp_path / "c.wav"), "duplicate id", "m.jsonl:4 has the id of m.jsonl:2"),
        Problem("a", str(tmp_path / "a.wav"), "duplicate id", "m.jsonl:5 has the id of m.jsonl:2"),
    ]


def test_a_byte_order_mark_and_crlf_change_nothing(tmp_path: Path) -> None:
    text = '{"audio": "a.wav", "text": "één"}\n{"audio": "b.wav", "text": "two"}\n'
    (tmp_path / "m.jsonl").write_bytes(codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode())
    assert read_entries(tmp_path / "m.jsonl") == [
        Utterance("m.jsonl:1", tmp_path / "a.wav", "één"),
        Utterance("m.jsonl:2", tmp_path / "b.wav", "two"),
    ]


def test_the_manifests_of_the_built_in_domains_are_read_in_full() -> None:
    manifests = sorted(PACKAGED.glob("*/samples/*.jsonl"))
    assert manifests
    for manifest in manifests:
        assert all(isinstance(entry, Utterance) for entry in read_entries(manifest))


def test_a_file_must_be_as_long_as_its_entry_says(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(32_000, np.float32), 16_000)
    limits = AudioLimits(max_duration_s=15)

    def length(duration: float, **more: float) -> int:
        line = {"audio_filepath": "a.wav", "text": "x", "duration": duration, **more}
        entry = one(tmp_path, line)
        assert isinstance(entry, Utterance)
        return len(read_utterance(entry, limits))

    assert length(2.0) == length(1.95) == length(2.05) == 32_000
    assert length(0.5, offset=0) == 8_000
    for duration in (0.5, 3.0):
        with pytest.raises(AudioError, match=r'lasts 2\.000 s.*"offset"'):
            length(duration)


def test_an_utterance_is_read_from_its_channel(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (16_000, 2)).astype(np.float32)
    sf.write(tmp_path / "two.wav", samples, 16_000, subtype="FLOAT")
    limits = AudioLimits()
    for channel, wave in (
        (1, samples[:, 1]),
        (0, samples[:, 0]),
        ("mix", samples.mean(axis=1)),
        (None, samples.mean(axis=1)),
    ):
        entry = one(tmp_path, {"audio": "two.wav", "text": "one", "channel": channel})
        assert isinstance(entry, Utterance)
        assert np.array_equal(read_utterance(entry, limits), wave)
    entry = one(tmp_path, {"audio": "two.wav", "text": "one", "channel": 2})
    assert isinstance(entry, Utterance)
    with pytest.raises(AudioError, match="has no channel 2: it has 2 channels"):
        read_utterance(entry, limits)
