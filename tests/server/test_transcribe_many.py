"""Many recordings: folders, patterns, manifests and standard input; each result is written as it is there."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapters_store.store import AdapterStore
from server import transcribe_command
from server.engine.engine import Engine
from server.engine.messages import Reply
from server.recordings import find_recordings
from server.transcribing import Transcribing
from server.transcript_record import RECORD_FILE
from ssvd_asr import cli
from tests.server.fakes import FakeRecogniser
from tests.training.conftest import write_manifest


@pytest.fixture
def clips(
    tmp_path: Path, clip: bytes, engine: Engine, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with two clips, one below in a folder of its own. Commands run beside it."""
    monkeypatch.setattr(Engine, "close", lambda *_, **__: None)
    monkeypatch.setattr(transcribe_command, "start_engine", lambda _: engine)
    monkeypatch.setenv("SSVD_STORE", str(store.root))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "clips"
    (folder / "monday").mkdir(parents=True)
    (folder / "a.wav").write_bytes(clip)
    (folder / "monday" / "b.WAV").write_bytes(clip)
    (folder / "notes.txt").write_text("none of the audio")
    (folder / ".hidden.wav").write_bytes(clip)
    return folder


def run(*arguments: str | Path, status: int = 0) -> None:
    assert transcribe_command.main([*map(str, arguments)]) == status


def names(*arguments: str | Path) -> list[str]:
    return [recording.name for recording in find_recordings([*map(str, arguments)]).recordings]


def test_a_recording_over_a_limit_or_empty_is_told_as_the_server_tells_it(
    clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (clips / "empty.wav").touch()
    monkeypatch.setenv("SSVD_MAX_DURATION_S", "0.1")
    run("clips", status=1)
    err = capsys.readouterr().err
    assert "clips/a.wav: longer than the limit of 0.1 s (SSVD_MAX_DURATION_S)\n" in err
    assert "clips/empty.wav: is empty: it has 0 bytes\n" in err


@pytest.mark.usefixtures("clips")
def test_a_folder_is_the_audio_below_it_and_the_rest_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    run("clips")
    out, err = capsys.readouterr()
    assert out == "clips/a.wav: base words\nclips/monday/b.WAV: base words\n"
    assert "clips: 1 other file is not taken (.txt)" in err


@pytest.mark.usefixtures("clips")
def test_a_pattern_that_the_shell_has_left_is_followed() -> None:
    assert names("clips/**/*.[wW][aA][vV]") == ["clips/a.wav", "clips/monday/b.WAV"]
    assert find_recordings(["clips/*.mp3"]).refusals[0].reason == "no file matches the pattern"


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("", "an empty path; is a variable of the shell not set?"),  # and not the current folder
        ("https://example.org/a.wav", "is a URL; download it"),
        (r"C:\data\a.wav", "is a path of Windows"),
        ("none.wav", "No such file or directory"),
    ],
)
def test_what_names_no_recording_is_told_without_a_model(
    argument: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transcribe_command, "start_engine", lambda _: pytest.fail("a model was loaded"))
    run(argument, status=1)
    assert reason in capsys.readouterr().err


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize("name", ["-dash.wav", "two words.WAV", "ünïcode.wav", "no-ending"])
def test_a_file_may_have_any_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy("clips/a.wav", name)
    run("--out", "out", "--", name)
    assert Path("out", f"{Path(name).stem}.txt").read_text() == "base words\n"
    assert str(Path("out", Path(name).stem)) in capsys.readouterr().out


def test_a_file_may_have_the_name_of_a_pattern(clips: Path) -> None:
    shutil.copy(clips / "a.wav", "take[1].wav")
    assert names("take[1].wav") == ["take[1].wav"]


def test_links_between_folders_end(clips: Path) -> None:
    (clips / "monday" / "up").symlink_to(clips, target_is_directory=True)
    outside = clips.with_name("outside")
    (clips / "monday").rename(outside)
    (clips / "linked").symlink_to(outside, target_is_directory=True)
    assert names("clips") == ["clips/a.wav", "clips/linked/b.WAV"]
    (clips / "again").symlink_to(clips, target_is_directory=True)
    assert names("clips/**/*.[wW]*") == ["clips/a.wav", "clips/linked/b.WAV"]


def test_a_manifest_needs_no_texts_and_names_what_it_refuses(
    clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        {"id": "one/1", "audio_filepath": "a.wav", "offset": 0.5, "duration": 1},
        {"audio_filepath": "monday/b.WAV"},
        {"audio_filepath": "none.wav"},
        {"audio_filepath": "a.wav", "start": 1},
    ]
    write_manifest(clips / "m.json", lines)
    run("clips/m.json", "--out", "out", status=1)
    out, err = capsys.readouterr()
    assert out == "one/1: out/one_1.txt\nm.json:2: out/m.json:2.txt\n"
    assert "m.json:3: missing file" in err
    assert "m.json:4: malformed entry: line 4: unknown key 'start'" in err
    run("clips/m.json", "--json", status=1)
    document = json.loads(capsys.readouterr().out)["files"]
    assert [(each.get("id"), each.get("duration_s")) for each in document] == [
        ("one/1", 1.0), ("m.json:2", 2.0), (None, None), (None, None),
    ]  # fmt: skip


def test_standard_input_is_a_recording(
    clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((clips / "a.wav").read_bytes())))
    run("-")
    assert capsys.readouterr().out == "base words\n"


def test_transcripts_keep_the_folders_of_their_audio(clips: Path) -> None:
    run(clips, "--out", "out", "--format", "srt")
    assert sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.srt")) == [
        "a.srt", "monday/b.srt",
    ]  # fmt: skip


def stopped(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """Run the command; it is interrupted in its second recording."""
    wanted = iter([None, KeyboardInterrupt()])
    plain = Transcribing._transcribe

    def transcribe(self: Transcribing, recording: Any) -> Any:
        if stop := next(wanted):
            raise stop
        return plain(self, recording)

    with monkeypatch.context() as patched:
        patched.setattr(Transcribing, "_transcribe", transcribe)
        with pytest.raises(KeyboardInterrupt):
            transcribe_command.main([*map(str, arguments)])


def test_a_stopped_run_has_written_what_was_done_and_goes_on_after_it(
    clips: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recogniser: FakeRecogniser,
) -> None:
    stopped(monkeypatch, clips, "--out", "out")
    assert Path("out/a.txt").read_text() == "base words\n"
    assert not Path("out/monday/b.txt").exists()
    Path("out/a.txt").write_text("corrected by hand")
    capsys.readouterr()
    run(clips, "--out", "out")
    out, err = capsys.readouterr()
    assert out == f"{clips}/monday/b.WAV: out/monday/b.txt\n"
    assert "1 of 2 recordings are done already" in err
    assert Path("out/a.txt").read_text() == "corrected by hand"
    assert len(recogniser.pieces) == 2


def test_nothing_to_do_needs_no_model(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(clips, "--out", "out")
    monkeypatch.setattr(transcribe_command, "start_engine", lambda _: pytest.fail("a model was loaded"))
    run(clips, "--out", "out")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--domain", "child"], "was made with domain None"),
        (["--language", "nl"], "was made with language <eng>"),
        (["--search", "greedy"], "was made with search"),
    ],
)
def test_a_transcript_made_in_another_way_is_neither_taken_nor_replaced(
    clips: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    told: str,
) -> None:
    run(clips, "--out", "out")
    run(clips, "--out", "out", *more, status=1)
    assert told in capsys.readouterr().err


def test_nor_is_one_of_audio_that_has_changed(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(clips, "--out", "out")
    os.utime(clips / "a.wav", (1, 1))
    run(clips, "--out", "out", status=1)
    assert "out/a.txt is of other audio than" in capsys.readouterr().err


@pytest.mark.usefixtures("clips")
def test_nor_is_one_of_another_channel_of_the_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def manifest(**more: object) -> Path:
        return write_manifest(tmp_path / "m.jsonl", [{"id": "u", "audio": "clips/a.wav", **more}])

    run(manifest(channel=0), "--out", "out")
    record = Path("out", RECORD_FILE)
    run(manifest(), "--out", "out", status=1)
    assert "out/u.txt is of other audio than u" in capsys.readouterr().err
    run(manifest(), "--out", "out", "--overwrite")
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["of"].pop("channel") for line in lines] == [0, "mix"]
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))  # as before channels were noted
    run(manifest(), "--out", "out")
    run(manifest(channel=0), "--out", "out", status=1)


@pytest.mark.usefixtures("clips")
def test_an_id_that_no_file_can_have_is_told_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcribe_command, "start_engine", lambda _: pytest.fail("a model was loaded"))
    data = write_manifest(tmp_path / "m.jsonl", [{"id": "é" * 130, "audio": "clips/a.wav"}])
    run(data, "--out", "out", status=1)
    err = capsys.readouterr().err
    assert "too long for the name of a file" in err
    assert len(err) < 300


@pytest.mark.usefixtures("clips")
def test_a_language_that_the_base_has_not_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    run("clips", "--language", "tlh", status=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("has no language 'tlh'") == 1


@pytest.mark.usefixtures("clips")
def test_a_file_is_named_once_in_what_is_told_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    run("clips", "--channel", "9", status=1)
    assert capsys.readouterr().err.count("clips/a.wav") == 1


def test_nor_one_of_another_base_of_the_name(
    clips: Path,
    capsys: pytest.CaptureFixture[str],
    recogniser: FakeRecogniser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped(monkeypatch, clips, "--out", "out")
    monkeypatch.setattr(recogniser, "digest", "sha256:" + "1" * 64)
    run(clips, "--out", "out", status=1)
    assert "was made by another base of this name" in capsys.readouterr().err


def test_a_record_cut_off_by_the_end_of_the_process_is_mended(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(monkeypatch, clips, "--out", "out")
    with Path("out", RECORD_FILE).open("a") as stream:
        stream.write('{"to": "monday/b.t')
    run(clips, "--out", "out")
    assert len(Path("out", RECORD_FILE).read_text().splitlines()) == 2


@pytest.mark.parametrize("out", ["afile", "afile/below"])
def test_a_file_in_the_place_of_the_folder_is_told_before_a_model_is_loaded(
    clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.setattr(transcribe_command, "start_engine", lambda _: pytest.fail("a model was loaded"))
    Path("afile").touch()
    run(clips, "--out", out, status=1)
    assert f"--out {out}: a folder is wanted, and it " in capsys.readouterr().err
    Path("out/a.txt").mkdir(parents=True)
    run(clips, "--out", "out", status=1)
    assert "out/a.txt is a folder" in capsys.readouterr().err


def test_a_full_disk_ends_the_run_with_one_line_and_leaves_no_half_transcript(
    clips: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    run(clips, "--out", "out", status=1)
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert not list(Path("out").rglob("*.txt*"))


def test_a_name_that_is_not_utf_8_is_transcribed_and_written(
    clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        shutil.copy(clips / "a.wav", clips / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for more in (["--out", "out", "--format", "json"], ["--out", "out", "--format", "json"], ["--json"]):
        assert cli.main(["transcribe", str(clips / name), *more]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1].encode("utf-8"))
    assert document["file"] == str(clips / name)
    written = Path("out", os.fsdecode(b"caf\xe9.json")).read_text(encoding="utf-8")
    assert json.loads(written)["file"] == str(clips / name)


def test_progress_in_a_file_is_plain_lines_with_the_real_time_factor(
    clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(clips, "--out", "out")
    err = capsys.readouterr().err
    assert "transcribing: 2 of 2 recordings" in err
    assert "real-time factor 0." in err
    assert "\r" not in err


def test_one_version_of_a_domain_answers_for_the_whole_run(
    clips: Path, store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Engine.submit
    seen: list[Reply] = []

    def submit(self: Engine, request: Any) -> Any:
        future = plain(self, request)
        seen.append(future.result())
        store.activate("child", 1)
        return future

    monkeypatch.setattr(Engine, "submit", submit)
    run(clips, "--domain", "child")
    assert {reply.provenance.adapter_version for reply in seen} == {2}
