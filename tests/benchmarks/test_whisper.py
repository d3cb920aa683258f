"""The benchmarks of Whisper run on a tiny random one, resume, and count what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from benchmarks import whisper_agreement, whisper_speed
from benchmarks.real_clips import Clip, clips_of
from ssvd_asr.base.model import BaseModel
from tests.random_whisper import write_random_whisper
from tests.speechlike import babble

CPU = ["--quick", "--device", "cpu"]
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_whisper(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("librivox", "fillets-nl"):
        (folder / name).mkdir()
        lines = []
        for number in range(3):
            path = folder / name / f"{number}.wav"
            soundfile.write(path, babble(1.0 + 0.5 * number, seed=number), 16_000)
            lines.append(json.dumps({"id": f"{name}/{number}", "audio": str(path), "text": "the small boat"}))
        (folder / name / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_clips_have_the_language_of_their_set_and_are_spread_over_it(data: Path) -> None:
    clips = clips_of(data, ["librivox", "fillets-nl"])
    assert [(clip.code, clip.language) for clip in clips] == 3 * [("en", "<eng>")] + 3 * [("nl", "<nld>")]
    assert [clip.utterance.id for clip in clips_of(data, ["fillets-nl"], 2)] == [
        "fillets-nl/0",
        "fillets-nl/2",
    ]
    assert [len(clips_of(data, ["fillets-nl"], most)) for most in (1, 3, 9)] == [1, 3, 3]


class Judge:
    """A judge that agrees."""

    def __init__(self, _folder: Path, base: BaseModel) -> None:
        self.base = base

    def tokens(self, mode: str, clip: Clip) -> list[int]:
        return whisper_agreement._ours(self.base, mode, [clip])[0]


def test_agreement_is_told_by_the_clip_and_goes_on_where_it_ended(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers' own goes on where a time is said, and a random Whisper says times: see test_generate.py.
    monkeypatch.setattr(whisper_agreement, "Transformers", Judge)
    kept = tmp_path / "kept.jsonl"
    sets = ["--data", str(data), "--sets", "librivox", "fillets-nl", "--kept", str(kept), "--base", str(base)]
    words = [*CPU, *sets, "--out", str(tmp_path), "--modes", "greedy"]
    whisper_agreement.main([*words, "--sides", "transformers"])
    assert not list(tmp_path.glob("*.json"))
    assert len(kept.read_text().splitlines()) == 4  # two clips of each set
    monkeypatch.setattr(whisper_agreement, "Transformers", None)  # is not needed again
    whisper_agreement.main(words)
    record = json.loads((tmp_path / f"whisper-agreement-{base.name}-cpu.json").read_text())
    assert [(row["set"], row["clips"], row["same"], row["differences"]) for row in record["rows"]] == [
        ("librivox", 2, 2, []), ("fillets-nl", 2, 2, [])
    ]  # fmt: skip
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    changed = [[*line[:3], [*line[3][:2], 9, *line[3][3:]]] if line[0] == "ours" else line for line in lines]
    kept.write_text("".join(json.dumps(line) + "\n" for line in changed))
    whisper_agreement.main(words)
    record = json.loads((tmp_path / f"whisper-agreement-{base.name}-cpu.json").read_text())
    for row in record["rows"]:
        assert (row["same"], row["ties"] + row["differ"], len(row["differences"])) == (0, 2, 2)
        assert all(each["gap"] <= 0 and each["ours"] != each["transformers"] for each in row["differences"])


def test_every_side_is_timed_and_a_work_that_is_known_is_not_timed_again(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper_speed, "Transformers", whisper_speed.Ours)  # its tokenizer wants more files
    words = ["--device", "cpu", "--base", str(base), "--data", str(data), "--repeats", "1", "--domains", "2"]
    monkeypatch.setattr(whisper_speed, "RECORDED", ("librivox",))
    whisper_speed.main([*words, "--recording-s", "3", "--out", str(tmp_path)])
    path = tmp_path / "whisper-speed-cpu.json"
    record = json.loads(path.read_text())
    works: dict[str, list[str]] = {}
    for row in record["rows"]:
        works.setdefault(row["work"], []).append(row["side"])
        assert row["seconds"] > 0 < row["ours_faster"]
    plain = ["ours", "ours bfloat16", "transformers"]
    assert works == {
        "clips, batch 1": plain,
        "clips, batch 8": ["ours", "ours bfloat16", "ours, 2 domains", "transformers"],
        "recording, librivox": plain,
    }
    known: list[dict[str, Any]] = [row for row in record["rows"] if row["work"] == "clips, batch 8"]
    path.write_text(json.dumps({**record, "complete": False, "rows": known}))
    whisper_speed.main([*words, "--recording-s", "3", "--out", str(tmp_path)])
    again = json.loads(path.read_text())["rows"]
    assert [row for row in again if row["work"] == "clips, batch 8"] == known
    assert len(again) == len(record["rows"])
