"""`ssvd transcribe`: the server's engine in process; --json prints one object and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pysubs2
import pytest

from adapters_store.store import AdapterStore
from server import transcribe_command
from server.engine.engine import Engine
from server.settings import ServerSettings
from server.transcript_files import FORMATS
from ssvd_asr.errors import BaseModelError
from tests.server.fakes import BASE, DIGEST, FakeRecogniser
from tests.speechlike import babble, wav_bytes


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, engine: Engine, store: AdapterStore) -> Engine:
    """The engine that the command starts is the one over the fake recogniser."""
    monkeypatch.setattr(transcribe_command, "start_engine", lambda _: engine)
    monkeypatch.setenv("SSVD_STORE", str(store.root))
    return engine


@pytest.fixture
def clip_file(tmp_path: Path, clip: bytes) -> Path:
    path = tmp_path / "clip.wav"
    path.write_bytes(clip)
    return path


def run_json(capsys: pytest.CaptureFixture[str], *argv: object, status: int = 0) -> dict[str, Any]:
    assert transcribe_command.main([*map(str, argv), "--json"]) == status
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    document: dict[str, Any] = json.loads(out)
    return document


@pytest.mark.usefixtures("started")
def test_one_file_is_one_object_with_text_domain_adapter_and_base(
    capsys: pytest.CaptureFixture[str], clip_file: Path, store: AdapterStore
) -> None:
    sha256 = store.resolve("child").sha256
    assert run_json(capsys, clip_file, "--domain", "child") == {
        "file": str(clip_file),
        "text": "child words of version 2",
        "duration_s": 2.0,
        "base": BASE,
        "base_digest": DIGEST,
        "domain": "child",
        "adapter_version": 2,
        "adapter_sha256": sha256,
        "adapter": f"child@sha256:{sha256}",
        "decoding": [{"start": 0.0, "end": 2.0, "search": "greedy", "doubt_nats": 0.5}],
        "warnings": [],
    }
    assert store.resolve(f"child@sha256:{sha256}").version == 2


def test_the_search_is_the_servers_setting(
    capsys: pytest.CaptureFixture[str], clip_file: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ServerSettings] = []

    def start(settings: ServerSettings) -> Engine:
        seen.append(settings)
        return engine

    monkeypatch.setattr(transcribe_command, "start_engine", start)
    run_json(capsys, clip_file, "--beam-size", "5", "--ctc-weight", "0.3")
    assert (seen[0].beam_size, seen[0].ctc_weight) == (5, 0.3)
    document = run_json(capsys, clip_file, "--beam-size", "0", status=1)
    assert "SSVD_BEAM_SIZE" in document["error"]


@pytest.mark.usefixtures("started")
def test_without_a_domain_it_is_the_base(capsys: pytest.CaptureFixture[str], clip_file: Path) -> None:
    document = run_json(capsys, clip_file)
    assert (document["text"], document["domain"], document["adapter"]) == ("base words", None, None)


@pytest.mark.usefixtures("started")
def test_several_files_are_a_list_and_one_that_is_refused_stops_no_other(
    capsys: pytest.CaptureFixture[str], clip_file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not audio")
    document = run_json(capsys, broken, clip_file, tmp_path / "missing.wav", status=1)
    assert set(document) == {"files"}
    bad, good, missing = document["files"]
    assert set(bad) == {"file", "error"}
    assert good["text"] == "base words"
    assert missing["file"].endswith("missing.wav")
    assert "No such file" in missing["error"]


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(("files", "line"), [(1, "base words\n"), (2, "{file}: base words\n")])
def test_plain_output_is_the_text_alone_or_with_file_names(
    capsys: pytest.CaptureFixture[str], clip_file: Path, files: int, line: str
) -> None:
    paths = [clip_file, clip_file.with_name("other.wav")][:files]
    for path in paths[1:]:
        path.write_bytes(clip_file.read_bytes())
    assert transcribe_command.main([*map(str, paths), str(clip_file)]) == 0  # one of them twice
    assert capsys.readouterr().out == "".join(line.format(file=path) for path in paths)


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("arguments", "words"), [(("--domain", "klingon"), "klingon"), (("--language", "tlh"), "tlh")]
)
def test_an_unknown_domain_or_language_is_an_error_and_never_the_base(
    capsys: pytest.CaptureFixture[str], clip_file: Path, arguments: tuple[str, str], words: str
) -> None:
    document = run_json(capsys, clip_file, *arguments, status=1)
    assert words in document["error"]
    assert "text" not in document


def test_a_base_that_cannot_be_loaded_is_one_object_too(
    capsys: pytest.CaptureFixture[str], clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> Engine:
        raise BaseModelError("no such base")

    monkeypatch.setattr(transcribe_command, "start_engine", refuse)
    assert run_json(capsys, clip_file, status=1) == {"error": "no such base"}
    assert transcribe_command.main([str(clip_file)]) == 1
    assert capsys.readouterr().err == "ssvd transcribe: no such base\n"


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_written_with_the_same_words(
    capsys: pytest.CaptureFixture[str], clip_file: Path, tmp_path: Path, kind: str
) -> None:
    other = clip_file.with_name("other.wav")
    other.write_bytes(clip_file.read_bytes())
    out = tmp_path / "new" / "out"
    arguments = [str(clip_file), str(other), "--format", kind, "--out", str(out)]
    assert transcribe_command.main(arguments) == 0
    made = sorted(path.name for path in out.iterdir())
    assert made == [f"clip.{kind}", f"other.{kind}", "ssvd-transcripts.jsonl"]
    assert str(out / f"other.{kind}") in capsys.readouterr().out
    written = (out / f"clip.{kind}").read_text(encoding="utf-8")
    if kind == "txt":
        assert written == "base words\n"
    elif kind == "json":
        document = json.loads(written)
        assert document["text"] == " ".join(word["word"] for word in document["words"]) == "base words"
    else:
        assert [cue.plaintext for cue in pysubs2.SSAFile.from_string(written, kind)] == ["base words"]


@pytest.mark.usefixtures("started")
def test_keywords_go_with_every_recording_and_are_checked_before_the_first(
    capsys: pytest.CaptureFixture[str], clip_file: Path, recogniser: FakeRecogniser
) -> None:
    run_json(capsys, clip_file, "--keyword", "new york", "--keyword", "Kotlin")
    assert [piece.keywords for piece in recogniser.pieces] == [("new york", "Kotlin")]
    assert "'C#'" in run_json(capsys, clip_file, "--keyword", "C#", status=1)["error"]
    assert len(recogniser.pieces) == 1


@pytest.mark.usefixtures("started")
def test_transcripts_made_with_other_keywords_are_not_taken_for_done(
    capsys: pytest.CaptureFixture[str], clip_file: Path, tmp_path: Path
) -> None:
    arguments = [str(clip_file), "--out", str(tmp_path / "out"), "--keyword"]
    assert transcribe_command.main([*arguments, "boat"]) == 0
    assert transcribe_command.main([*arguments, "hill"]) == 1
    assert "was made with keywords ['boat', " in capsys.readouterr().err


@pytest.mark.usefixtures("started")
def test_a_transcript_is_replaced_only_if_asked(
    capsys: pytest.CaptureFixture[str], clip_file: Path, tmp_path: Path, engine: Engine
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    kept = out / "clip.srt"
    kept.write_text("corrected by hand", encoding="utf-8")
    arguments = [str(clip_file), "--format", "srt", "--out", str(out)]
    assert transcribe_command.main(arguments) == 1
    assert "clip.srt exists and is not in ssvd-transcripts.jsonl: --overwrite" in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == "corrected by hand"
    assert engine.ready  # nothing was decoded
    assert transcribe_command.main([*arguments, "--overwrite"]) == 0
    assert "base words" in kept.read_text(encoding="utf-8")


@pytest.mark.usefixtures("started")
def test_two_files_of_one_name_are_refused_before_either_is_decoded(
    capsys: pytest.CaptureFixture[str], clip_file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / "clip.flac"
    other.parent.mkdir()
    other.write_bytes(clip_file.read_bytes())
    out = tmp_path / "out"
    assert transcribe_command.main([str(clip_file), str(other), "--out", str(out)]) == 1
    assert "both be written to" in capsys.readouterr().err
    assert not out.exists()


def test_several_subtitles_are_not_printed_in_one(
    capsys: pytest.CaptureFixture[str], clip_file: Path
) -> None:
    other = clip_file.with_name("other.wav")
    other.write_bytes(clip_file.read_bytes())
    assert transcribe_command.main([str(clip_file), str(other), "--format", "srt"]) == 1
    assert "--out FOLDER" in capsys.readouterr().err


@pytest.fixture
def two_channels(tmp_path: Path) -> Path:
    path = tmp_path / "two.wav"
    path.write_bytes(wav_bytes(np.stack([babble(2.0), babble(2.0, seed=4)], axis=1)))
    return path


@pytest.mark.usefixtures("started")
def test_each_channel_is_transcribed_apart(capsys: pytest.CaptureFixture[str], two_channels: Path) -> None:
    each = run_json(capsys, two_channels, "--channel", "each")
    assert each["text"] == "base words\nbase words"
    assert [channel["text"] for channel in each["channels"]] == ["base words"] * 2


@pytest.mark.usefixtures("started")
def test_a_channel_that_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str], two_channels: Path
) -> None:
    assert transcribe_command.main([str(two_channels), "--channel", "2"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "has no channel 2: it has 2 channels" in captured.err
