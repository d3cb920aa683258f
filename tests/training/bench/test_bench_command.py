"""`ssvd bench methods` from corpora to tables, with runs that are only pretended, and one that is not."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from ssvd_asr.errors import DataError, SsvdError
from tests.training.conftest import write_corpus
from training.bench import command
from training.bench.command import Study
from training.bench.facts import voices_line
from training.bench.report import write_report
from training.bench.run import RESULT_FILE, _session, main
from training.bench.spec import Spec, read_spec, write_spec
from training.bench.study import (
    ADULT,
    BASE,
    DOMAINS,
    LEARNING_RATES,
    TEST_CORPORA,
    TESTS,
    Budget,
    Config,
    Task,
)
from training.methods.scale import SCALES

TINY = Budget(
    train_utterances=4, valid_utterances=2, test_utterances=2, rounds=2, lr_rounds=1, batches_a_round=1
)
CONFIG = Config("ssvd-p20", "ssvd first-order", {"method": "ssvd", "p": 0.2})
ROTATION = Config("ssvd-first-order-p40", "ssvd first-order", {"method": "ssvd", "p": 0.4})
UNCONSTRAINED = Config("ssvd-free-p28", "ssvd free", {"method": "ssvd", "p": 0.28})
LORA = Config("lora-r1", "lora", {"method": "lora", "rank": 1})
FULL = Config("full", "full fine-tuning", {"method": "full"})


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """<domain>-<split>/manifest.jsonl, as recipes.espeak leaves them."""
    root = tmp_path_factory.mktemp("corpora")
    wanted = [f"{domain}-{split}" for domain in DOMAINS for split in ("train", "valid")]
    for seed, name in enumerate([*wanted, *TEST_CORPORA.values()]):
        write_corpus(root / name, "audio", 4, seed=seed)
        (root / name / "audio.jsonl").rename(root / name / "manifest.jsonl")
    return root


VOICES = {name: [0, 1] for name in DOMAINS}


def _pretended(task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {
        "key": task.key, "stage": task.stage, "domain": task.domain, "lr": task.lr, "seed": task.seed,
        "parameters": 10, "valid_accuracy": task.lr,
    }  # fmt: skip
    if task.stage != "base":
        config = task.config
        found |= {"config": config.name, "group": config.group, "options": dict(config.options)}
    if task.stage in ("base", "final"):
        wer = 0.5 if task.stage == "base" else 0.25
        test = {"wer": wer, "errors": [1, 2], "words": [4, 4]}
        test |= {"unseen_words": [1, 4], "insertions": 1}
        found["tests"] = dict.fromkeys(TESTS[task.domain], test)
    if task.stage == "final":
        found |= {"bytes": 5, "curve": [[1, 9.0, 0.5], [2, 8.0, 0.9]]}
    if task.stage == "cost":
        found |= {"step_s": 0.5, "step_bytes": 3 * 2**20}
    return found


def test_what_was_run_is_not_run_again_and_the_tables_come_from_the_file(
    tmp_path: Path, corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    running: list[str] = []

    def pretend(_: Study, __: str, task: Task, ___: Any) -> dict[str, Any]:
        begun.append(task.key)
        running.append(task.stage)
        beside = list(running)
        time.sleep(0.01)
        running.remove(task.stage)
        assert "cost" not in beside or len(beside) == 1, "a cost was measured beside another run"
        return _pretended(task)

    monkeypatch.setattr(Study, "_process", pretend)
    study = Study(tmp_path / "methods.jsonl", tmp_path / "work", corpora, TINY, "cpu")
    study.run([CONFIG], jobs=2, limit=3)
    assert len(begun) == len(study.results()) - 2 == 3  # and lines that say who speaks and what basis is held
    study.run([CONFIG, FULL], jobs=2)
    assert len(begun) == len(set(begun)) == len(study.results()) - 3
    held = {result["config"]: result["bytes"] for result in study.results() if result["stage"] == "basis"}
    # int(0.2 x 128) of both sides of every layer at least; full fine-tuning needs no basis.
    assert held["full"] == 0 < 128 * 2 * 4 * 25 < held["ssvd-p20"]
    count = len(begun)
    study.run([CONFIG, FULL], jobs=2)
    assert len(begun) == count
    pages = write_report(study.results(), [CONFIG, FULL], TINY, tmp_path)
    page = pages[0].read_text(encoding="utf-8")
    assert all(f"({path.name})" in page and path.exists() for path in pages[1:])
    for domain in DOMAINS:
        assert f"## {domain}: 50.0% without an adapter" in page
    assert page.count("| **ssvd-p20**") + page.count("| ssvd-p20 |") == len(DOMAINS) + 1
    assert "| ssvd-p20 | 25.0% | 25.0% of 4 | 25.0% | 25.0% of 4 | 25.0% |" in page
    again = write_report(study.results(), [CONFIG, FULL], TINY, tmp_path / ".")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in pages]


def test_rotation_and_unconstrained_core_stand_side_by_side(tmp_path: Path) -> None:
    tasks = [Task("base", BASE, domain, 0.0, 1) for domain in DOMAINS]
    tasks += [Task("final", ROTATION, domain, 1e-3, 1) for domain in DOMAINS]
    tasks.append(Task("final", UNCONSTRAINED, DOMAINS[0], 1e-3, 1))
    results = [{"study": "s", **_pretended(task)} for task in tasks]
    results.insert(0, {"study": "s", "key": "voices", "stage": "voices", "tests": VOICES})
    for config in (ROTATION, UNCONSTRAINED):
        tried = [Task("lr", config, DOMAINS[0], lr, 1) for lr in LEARNING_RATES]
        results[:0] = [{"study": "s", **_pretended(t), "valid_accuracy": float(t.lr == 1e-3)} for t in tried]
    worse = results[-1]["tests"][DOMAINS[0]]
    results[-1]["tests"] = {**results[-1]["tests"], DOMAINS[0]: {**worse, "errors": [2, 3]}}
    page = write_report(results, [ROTATION, UNCONSTRAINED], TINY, tmp_path)[0].read_text(encoding="utf-8")
    assert "| ssvd-first-order-p40 (10) | ssvd-free-p28 (10) | -25.0% (-25.0% to -25.0%) | - |" in page


def test_rows_of_the_default_search_stand_beside_greedy_ones_and_at_their_scale(tmp_path: Path) -> None:
    base = [Task("base", BASE, domain, 0.0, 1) for domain in DOMAINS]
    results = [{"study": "s", "key": "voices", "stage": "voices", "tests": VOICES}]
    results += [{"study": "s", **_pretended(task)} for task in base]
    results += [{**result, "stage": "checked", "key": f"c{result['key']}"} for result in results[1:]]
    tried = [Task("lr", ROTATION, DOMAINS[0], lr, 1) for lr in LEARNING_RATES]
    results += [{"study": "s", **_pretended(t), "valid_accuracy": float(t.lr == 1e-3)} for t in tried]
    greedy = {"study": "s", **_pretended(Task("final", ROTATION, DOMAINS[0], 1e-3, 1))}
    test = {**greedy["tests"][ADULT], "wer": 0.125, "errors": [1, 0]}
    chosen = {"scale": 0.8, "scaled_tests": dict.fromkeys(greedy["tests"], test)}
    results += [greedy, {**greedy, "stage": "checked", "key": "checked", **chosen}]
    page = write_report(results, [ROTATION], TINY, tmp_path)[0].read_text(encoding="utf-8")
    row = "| child | ssvd-first-order-p40 | 10 | 25.0% | 25.0% | 0.8 | 12.5% | 0.0% to 25.0% |"
    assert f"{row} 25.0% | 25.0% | 12.5% |" in page


def test_a_run_that_fails_ends_the_benchmark_with_what_it_said(tmp_path: Path, corpora: Path) -> None:
    study = Study(tmp_path / "methods.jsonl", tmp_path / "work", corpora, TINY, "no-such-device")
    manifests, _ = study._subsets()
    with pytest.raises(SsvdError, match="no-such-device"):
        study._process("a-study", Task("lr", CONFIG, DOMAINS[0], 1e-3, 1), manifests)


def test_a_config_that_was_another_under_its_name_does_not_resume_that_one_s_run(
    tmp_path: Path, corpora: Path
) -> None:
    study = Study(tmp_path / "methods.jsonl", tmp_path / "work", corpora, TINY, "no-such-device")
    manifests, _ = study._subsets()
    folder = tmp_path / "work/runs/a-study/lr-ssvd-p20-child-lr0.001-seed1"
    left = []
    for config in (CONFIG, CONFIG, replace(CONFIG, options={**CONFIG.options, "p": 0.3})):
        with pytest.raises(SsvdError):
            study._process("a-study", Task("lr", config, DOMAINS[0], 1e-3, 1), manifests)
        left.append((folder / "checkpoint.safetensors").exists())
        (folder / "checkpoint.safetensors").touch()
    assert left == [False, True, False]


def test_runs_of_another_recipe_are_not_mixed_with_today_s(
    tmp_path: Path, corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "_process", lambda _, __, task, ___: _pretended(task))
    study = Study(tmp_path / "methods.jsonl", tmp_path / "work", corpora, TINY, "cpu")
    study.run([CONFIG], jobs=1, limit=1)
    study.run([CONFIG], jobs=1, limit=1)
    today = command.made_with("cpu")
    monkeypatch.setattr(command, "made_with", lambda _: {**today, "recipe": "another"})
    with pytest.raises(
        SsvdError, match=rf"recipe {today['recipe']}, .* another today \(another\): give --out"
    ):
        study.run([CONFIG], jobs=1, limit=1)


def test_a_missing_or_short_corpus_is_named(tmp_path: Path, corpora: Path) -> None:
    with pytest.raises(DataError, match=r"recipes\.espeak\.rebuild --only corpora"):
        Study(tmp_path / "r.jsonl", tmp_path, tmp_path / "none", TINY, "cpu").run([CONFIG], 1)
    large = replace(TINY, train_utterances=5)
    with pytest.raises(DataError, match="has 4 utterances, the benchmark takes 5"):
        Study(tmp_path / "r.jsonl", tmp_path, corpora, large, "cpu").run([CONFIG], 1)


@pytest.mark.parametrize("line", ["not json", "[1]", "null", '{"study": "x", "stage": "lr"}'])
def test_a_damaged_results_file_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    out = tmp_path / "methods.jsonl"
    out.write_text('{"study": "x", "stage": "lr", "key": "lr/x"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"methods\.jsonl:2"):
        command.main(["methods", "--out", str(out), "--report-only"])


def test_a_line_cut_off_by_a_kill_is_no_result_and_taken_away(tmp_path: Path) -> None:
    out = tmp_path / "methods.jsonl"
    study = Study(out, tmp_path, tmp_path, TINY, "cpu")
    kept = {"study": "x", "stage": "lr", "key": "lr/x"}
    study._file.add(kept)
    with out.open("a") as stream:
        stream.write('{"study": "x", "sta')
    assert study.results() == [kept]
    study._file.add({**kept, "key": "lr/y"})
    assert [result["key"] for result in study.results()] == ["lr/x", "lr/y"]


def test_a_report_of_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no results at"):
        command.main(["methods", "--out", str(tmp_path / "none.jsonl"), "--report-only"])


@pytest.mark.parametrize("option", [["--jobs", "0"], ["--stop-after", "-1"], ["--jobs", "two"]])
def test_counts_that_are_none_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["methods", *option])
    assert option[0] in capsys.readouterr().err


def test_what_ran_beside_a_run_that_fails_is_kept(
    tmp_path: Path, corpora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(_: Study, __: str, task: Task, ___: Any) -> dict[str, Any]:
        if task.domain == DOMAINS[0]:
            raise OSError("no space left")
        time.sleep(0.2)
        return _pretended(task)

    monkeypatch.setattr(Study, "_process", pretend)
    study = Study(tmp_path / "methods.jsonl", tmp_path / "work", corpora, TINY, "cpu")
    with pytest.raises(OSError, match="no space left"):
        study.run([CONFIG], jobs=2)
    (kept,) = [result for result in study.results() if result["stage"] == "base"]
    assert kept["domain"] == DOMAINS[1]
    assert kept["made_with"]["device"] == "cpu"


def test_voices_are_told_apart_by_name_and_an_utterance_without_one_is_alone(tmp_path: Path) -> None:
    speakers = ["b", "a", "b", None, "", "a"]
    lines = [{"id": str(i), **({} if s is None else {"speaker": s})} for i, s in enumerate(speakers)]
    manifests = {name: tmp_path / f"{name}.jsonl" for name in TEST_CORPORA.values()}
    for path in manifests.values():
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert voices_line(manifests)["tests"] == dict.fromkeys(TEST_CORPORA, (0, 1, 0, 2, 3, 1)) | {
        name: [0, 1, 0, 2, 3, 1] for name in TEST_CORPORA
    }


def test_two_at_once_do_not_add_to_the_same_results(tmp_path: Path, corpora: Path) -> None:
    out = tmp_path / "methods.jsonl"
    with FileLock(f"{out}.lock"), pytest.raises(SsvdError, match="another process"):
        Study(out, tmp_path / "work", corpora, TINY, "cpu").run([CONFIG], 1)


def test_the_study_joins_no_utterances_as_in_its_recorded_runs(tmp_path: Path) -> None:
    manifests = {f"{DOMAINS[0]}-{split}": tmp_path / split for split in ("train", "valid")}
    spec = Spec(Task("lr", CONFIG, DOMAINS[0], 1e-3, 1), TINY, manifests, tmp_path, "cpu")
    assert _session(spec).recipe.joined_share == 0.0


@pytest.mark.parametrize(
    ("stage", "config"),
    [
        ("base", BASE),
        ("checked", BASE),
        ("lr", FULL),
        ("final", CONFIG),
        ("checked", CONFIG),
        ("checked", FULL),
        ("final", FULL),
        ("final", LORA),
        ("cost", CONFIG),
    ],
)
def test_a_run_leaves_what_the_tables_need(tmp_path: Path, corpora: Path, stage: Any, config: Config) -> None:
    study = Study(tmp_path / "methods.jsonl", tmp_path / "work", corpora, TINY, "cpu")
    manifests, _ = study._subsets()
    rate = 0.0 if config is BASE else 1e-3
    spec = Spec(Task(stage, config, DOMAINS[0], rate, 1), TINY, manifests, tmp_path / "run", "cpu")
    spec.folder.mkdir()
    write_spec(tmp_path / "spec.json", spec)
    assert read_spec(tmp_path / "spec.json") == spec
    assert main([str(tmp_path / "spec.json")]) == 0
    found = json.loads((spec.folder / RESULT_FILE).read_text(encoding="utf-8"))
    assert found["key"] == spec.task.key
    if stage == "cost":
        assert found["step_s"] > 0
        assert found["step_bytes"] > 2**20
        return
    assert 0.0 <= found["valid_accuracy"] <= 1.0
    if config is not BASE:
        assert found["parameters"] > 0
        assert found["steps"] == TINY.batches_a_round * (TINY.lr_rounds if stage == "lr" else TINY.rounds)
    if stage != "lr":
        assert found["tests"][DOMAINS[0]]["insertions"] >= 0
        assert found["tests"].keys() == set(TESTS[DOMAINS[0]])
        assert all(len(test["errors"]) == TINY.test_utterances for test in found["tests"].values())
    if stage == "checked" and config is not BASE:
        assert found["scale_valid_wer"].keys() == {f"{scale:g}" for scale in SCALES}
        assert found["scale_valid_wer"][f"{found['scale']:g}"] == min(found["scale_valid_wer"].values())
        assert found["scaled_tests"].keys() == found["tests"].keys()
    if stage == "final":
        assert [step for step, _, _ in found["curve"]] == [1, 2]
        assert found["bytes"] >= 2 * found["parameters"]
        assert not list(spec.folder.glob("weights.safetensors"))
