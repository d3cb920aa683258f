"""What the recipes share: a run that goes on, the paper's row of a run's size, nothing set twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from recipes.cgn.__main__ import RECIPE as CGN
from recipes.entries import Kept, LeftOut, write_entries, write_json
from recipes.myst.__main__ import RECIPE as MYST
from recipes.paper.command import CorpusRecipe, run
from recipes.paper.experiment import compare, markdown
from recipes.paper.figures import ROWS, SIZES, same_row
from recipes.paper.options import _parser
from recipes.paper.report import make_report, table
from ssvd_asr.adapter.forms import CoreForm
from training import train_command
from training.loop.checkpoint import FILE_NAME


def kept(name: str, split: str, speaker: str = "a") -> Kept:
    return Kept(name, split, Path("/corpus") / f"{name}.flac", "Three small words", speaker, 1.5)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A prepared folder with one utterance a split."""
    entries = [kept(split, split, speaker=split) for split in ("train", "valid", "test")]
    write_json(
        tmp_path / "report.json",
        make_report("myst", write_entries(tmp_path, entries), {"rules": None}, ["a note"]),
    )
    return tmp_path


def finished(
    out: Path,
    name: str,
    options: Sequence[str] = (),
    size: str = "0.1b",
    prepared: str | None = None,
    **result: Any,
) -> None:
    """A run as `ssvd train` leaves it, as far as the table reads it."""
    folder = out / "runs" / name
    folder.mkdir(parents=True)
    write_json(
        folder / "asked.json", {"size": size, "options": list(options), "prepared": {"rules": prepared}}
    )
    whole = {
        "method": "ssvd",
        "base": "owsm",
        "base_digest": "sha256:1",
        "parameters": 1_505_000,
        "evaluated_utterances": 1,
        "sha256": "2",
        **{f"{rate}_{when}": 0.25 for rate in ("wer", "wer_raw", "cer") for when in ("before", "after")},
        **result,
    }
    write_json(folder / "result.json", whole)


def test_an_interrupted_run_goes_on_by_the_same_command(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def interrupted(argv: Sequence[str]) -> int:
        calls.append(list(argv))
        (prepared / "runs/0.1b-ssvd" / FILE_NAME).touch()
        return 130

    monkeypatch.setattr(train_command, "main", interrupted)
    command = ["--out", str(prepared), "--train", "0.1b", "--dtype", "bfloat16"]
    assert [run(MYST, command), run(MYST, command)] == [130, 130]
    first, second = calls
    assert "--resume" not in first
    assert [argument for argument in second if argument != "--resume"] == first
    assert first[first.index("--base") + 1] == "espnet/owsm_v3.1_ebf_base"
    assert (first[first.index("--p") + 1], first[-2:]) == ("0.4", ["--dtype", "bfloat16"])
    assert f"--test={prepared / 'test.jsonl'}" in first


@pytest.mark.parametrize("recipe", [MYST, CGN], ids=["myst", "cgn"])
@pytest.mark.parametrize("size", SIZES)
def test_each_size_trains_by_the_authors_recipe(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, recipe: CorpusRecipe, size: str
) -> None:
    """Nothing of `ssvd train`'s recipe is changed: for a base over 20 M parameters it is `settings.OWSM`."""
    parsed: list[Any] = []

    def parse(argv: Sequence[str]) -> int:
        parsed.append(train_command._parser().parse_args(argv))
        return 130

    monkeypatch.setattr(train_command, "main", parse)
    assert run(recipe, ["--out", str(prepared), "--train", size]) == 130
    (arguments,) = parsed
    assert train_command._recipe_changes(arguments) == {}
    assert (arguments.base, arguments.p) == (SIZES[size].base, SIZES[size].p)
    assert arguments.language == f"<{recipe.language}>"


@pytest.mark.parametrize(
    ("options", "p"),
    [
        (["--method=full"], None),
        (["--method", "full"], None),
        (["--method=lora"], None),
        (["--method", "svft-plain"], None),
        (["--method", "lora-xs"], None),
        (["--k", "8"], None),
        (["--p=0.2"], 0.2),
        (["--budget", "2000000"], None),
        (["--budget=2000000", "--budget-rule", "shape"], None),
        (["--override", "output_layer=8"], 0.25),
        (["--method", "ssvd", "--budget-rule", "energy"], 0.25),
    ],
)
def test_the_papers_share_is_asked_for_where_no_other_size_is(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], p: float | None
) -> None:
    parsed: list[Any] = []

    def parse(argv: Sequence[str]) -> int:
        arguments = train_command._parser().parse_args(argv)
        train_command._settings(arguments)  # refuses what does not go together
        parsed.append(arguments)
        return 130

    monkeypatch.setattr(train_command, "main", parse)
    assert run(MYST, ["--out", str(prepared), "--train", "2b", *options]) == 130
    assert [arguments.p for arguments in parsed] == [p]


def test_the_options_that_a_recipe_knows_are_those_of_ssvd_train() -> None:
    theirs, ours = (set(parser._option_string_actions) for parser in (train_command._parser(), _parser()))
    assert ours <= theirs


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "options"),
    [({"LOCAL_RANK": "1"}, ["--processes", "2"]), (TORCHRUN | {"RANK": "1", "LOCAL_RANK": "0"}, [])],
    ids=["fabric", "torchrun"],
)
def test_a_process_beside_the_first_trains_and_does_no_more(
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: Mapping[str, str],
    options: list[str],
) -> None:
    """Its status is 0 before there is a result: another one ends the first, which is still scoring."""
    calls: list[Sequence[str]] = []

    def trained(argv: Sequence[str]) -> int:
        calls.append(argv)
        return 0

    monkeypatch.setattr(train_command, "main", trained)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = sorted(prepared.iterdir())
    corpus = ["--corpus", "/nowhere"] if "TORCHELASTIC_RUN_ID" not in environment else []
    assert run(MYST, ["--out", str(prepared), "--train", "0.1b", *corpus, *options]) == 0
    assert len(calls) == 1
    assert sorted(prepared.iterdir()) == before
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({}, ["--processes", "2"]),
        ({"LOCAL_RANK": "0"}, ["--processes=2"]),
        ({"LOCAL_RANK": "1", "RANK": "1"}, []),  # left over from something else: one process is asked for
        (TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"}, []),
        (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, []),
    ],
    ids=["alone yet", "launched", "one", "torchrun", "torchrun of one"],
)
def test_the_first_process_makes_the_table(
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: Mapping[str, str],
    options: list[str],
) -> None:
    def scored(argv: Sequence[str]) -> int:
        folder = Path(argv[argv.index("--out") + 1])
        asked = (folder / "asked.json").read_text()
        finished(prepared, "made")
        (prepared / "runs/made/result.json").rename(folder / "result.json")
        assert json.loads(asked)["options"] == options
        return 0

    monkeypatch.setattr(train_command, "main", scored)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run(MYST, ["--out", str(prepared), "--train", "0.1b", *options]) == 0
    assert capsys.readouterr().out.strip() == (prepared / "comparison.md").read_text().strip()


def test_torchrun_does_not_read_the_corpus_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (TORCHRUN | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    assert run(MYST, ["--out", str(tmp_path / "out"), "--corpus", str(tmp_path), "--train", "0.1b"]) == 1
    assert "run --corpus once without torchrun" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--out", "--resume", "--data", "--language", "--data=x", "--language=deu"]
)
def test_what_the_recipe_sets_itself_cannot_be_set(
    prepared: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    if option == "--out":
        assert run(MYST, ["--out", "x", "--train", "1b", "--domain", "y"]) == 1
    else:
        assert run(MYST, ["--out", str(prepared), "--train", "1b", option]) == 1
    assert "the recipe sets this itself" in capsys.readouterr().err


def test_training_before_preparing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(CGN, ["--out", str(tmp_path), "--train", "1b"]) == 1
    assert "nothing is prepared" in capsys.readouterr().err
    assert run(CGN, ["--out", str(tmp_path)]) == 1
    assert "nothing to do" in capsys.readouterr().err
    assert run(CGN, ["--out", str(tmp_path), "--k", "3"]) == 1
    assert "go with --train" in capsys.readouterr().err


def test_a_run_of_the_papers_size_stands_in_the_papers_row(prepared: Path) -> None:
    finished(prepared, "ours", wer_after=0.19, wer_raw_after=0.33)
    finished(prepared, "strict", ["--map", "cayley"], wer_after=0.2)
    finished(prepared, "other", ["--k", "9"], parameters=7_000, wer_after=0.4)
    finished(prepared, "older", prepared="others")
    finished(prepared, "tuned", ["--method=full"], method="full", parameters=101_180_000)
    found = compare("myst", prepared)
    assert found is not None
    rows = {row["run"]: row for row in found["rows"] if row["method"] != "zero-shot" and row["run"]}
    papers = {name: (row["method"], row["setting"], row["wer_paper"]) for name, row in rows.items()}
    assert papers == {
        "ours": ("ssvd", "40 %", 18.4),
        "strict": ("ssvd-cayley", "40 %", 18.6),
        "other": ("ssvd", "--k 9", None),
        "tuned": ("full", "", 14.9),
    }
    page = markdown(found)
    assert "| 0.1b | ssvd 40 % | 1.51 M | 18.4 | 1.50 M | 19.0 | 33.0 | ours (owsm) |" in page
    assert "| 0.1b | zero-shot | 0.00 M | 25.0 | 0.00 M | 25.0 | 25.0 |" in page
    assert "| 0.1b | lora r 8 | 2.07 M | 19.2 | - | - | - | - |" in page
    assert "Another test set than the paper's: 1 utterances, there 10328." in page
    assert "a note" in page
    assert "Not shown: run older, made on manifests of other rules." in page
    assert not any(row["size"] == "1b" for row in found["rows"])


@pytest.mark.parametrize(
    ("options", "parameters", "method"),
    [
        (["--directions", "tail", "--no-delta-sigma"], 1_488_384, "ssvd-tail-no-delta-sigma"),
        (["--directions=tail"], 1_507_968, "ssvd-tail"),
        (["--no-delta-sigma"], 1_488_384, "ssvd-no-delta-sigma"),
        (["--sides", "both", "--p", "0.28"], 1_465_472, "ssvd-two-sided"),
        (["--map", "cayley", "--sides", "both", "--p", "0.28"], 1_465_472, "ssvd-cayley-two-sided"),
        (["--scope", "encoder", "--k", "189"], 1_508_220, "ssvd-encoder"),
        (["--budget", "1510000"], 1_509_999, "ssvd-by-energy"),
        (["--p", "0.3", "--override", "output_layer=0.9"], 1_500_000, "ssvd-override"),
        (["--method", "lora", "--scope", "decoder", "--rank", "19"], 2_070_000, "lora-decoder"),
        (["--method", "full", "--scope", "encoder"], 100_000_000, "full-encoder"),
        (["--method", "lora", "--no-embedding", "--rank", "10"], 2_078_260, "lora-no-embedding"),
    ],
)  # fmt: skip
def test_only_what_the_paper_trained_stands_in_its_row(
    prepared: Path, options: list[str], parameters: int, method: str
) -> None:
    """All of these have as many parameters as some row of the paper, within the rounding."""
    finished(prepared, "other", options, parameters=parameters, method=method.partition("-")[0])
    found = compare("myst", prepared)
    assert found is not None
    (row,) = [row for row in found["rows"] if row["run"] and row["method"] != "zero-shot"]
    assert (row["method"], row["setting"], row["wer_paper"]) == (method, " ".join(options), None)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--map", "first-order", "--sides", "inner", "--directions", "head", "--scope", "all"],
        ["--budget", "1510000", "--budget-rule", "shape"],
        ["--map=cayley", "--map=first-order", "--k", "153"],
    ],
    ids=["default", "said", "by shape", "last counts"],
)
def test_plain_ssvd_stands_in_the_papers_row_however_it_is_asked_for(
    prepared: Path, options: list[str]
) -> None:
    finished(prepared, "ours", options)
    found = compare("myst", prepared)
    assert found is not None
    (row,) = [row for row in found["rows"] if row["run"] and row["method"] != "zero-shot"]
    assert (row["method"], row["setting"], row["wer_paper"]) == ("ssvd", "40 %", 18.4)


def test_an_unconstrained_map_has_the_papers_rows_of_none(prepared: Path) -> None:
    finished(prepared, "ours", ["--map", "free"], parameters=3_015_936)  # 128 layers of k = 153
    found = compare("myst", prepared)
    assert found is not None
    (row,) = [row for row in found["rows"] if row["run"] and row["method"] != "zero-shot"]
    assert (row["method"], row["setting"], row["wer_paper"]) == ("ssvd-free", "40 %", 17.0)
    # The paper prints no count for it.
    assert (
        "| 0.1b | ssvd-free 40 % | - | 17.0 | 3.02 M | 25.0 | 25.0 | ours (owsm, `--map free`) |"
        in markdown(found)
    )
    assert "| 0.1b | ssvd-free 60 % | - | 16.9 | - | - | - | - |" in markdown(found)


@pytest.mark.parametrize("method", ["ssvd-cayley", "ssvd-free"])
def test_the_papers_maps_are_compared_at_the_same_directions(method: str) -> None:
    """Free maps have k^2 + k numbers where rotations have k(k-1)/2 + k."""
    rotations = {(row.size, row.setting): row.our_millions for row in ROWS if row.method == "ssvd"}
    others = {(row.size, row.setting): row.our_millions for row in ROWS if row.method == method}
    times = CoreForm("free").parameters(153) / CoreForm().parameters(153) if method == "ssvd-free" else 1
    assert others == {place: times * millions for place, millions in rotations.items()}


def test_no_two_rows_of_the_paper_are_taken_for_one_another() -> None:
    for row in ROWS:
        parameters = round(row.our_millions * 1e6)
        assert [other for other in ROWS if same_row(other, row.size, row.method, parameters)] == [row]


def test_the_papers_svft_is_ours_without_its_embedding() -> None:
    results = Path(__file__).parents[2] / "docs" / "results"
    counts = json.loads((results / "paper-counts.json").read_text(encoding="utf-8"))
    ours = {
        (row["model"], row["size"].replace("D", "band")): row["ours"] / 1e6
        for row in counts
        if row["method"] == "svft-banded"
    }
    rows = [row for row in ROWS if row.method == "svft-banded"]
    assert len(rows) == len(ours)
    for row in rows:
        assert row.our_millions == pytest.approx(ours[row.size, row.setting], rel=0.01)


def test_an_id_seen_before_is_left_out_and_a_shared_speaker_said(tmp_path: Path) -> None:
    doubled = [kept("a", "train"), kept("a", "test"), kept("b", "test")]
    entries: list[Kept | LeftOut] = [*doubled, LeftOut("c", "none", "odd", "")]
    report = make_report("cgn", write_entries(tmp_path, entries), {}, [])
    assert report["splits"]["test"]["left_out"] == {"id seen before": 1}
    assert report["splits"]["none"]["found"] == 1
    assert report["speakers_in_two_splits"] == ["a"]
    said = table(report)
    assert "speakers in more than one split: a" in said
    assert "1 left out: odd" in said


def test_a_report_is_only_there_when_the_manifests_are_whole(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")

    def broken() -> Any:
        yield kept("a", "train")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        write_entries(tmp_path, broken())
    assert not (tmp_path / "report.json").exists()
    assert json.loads((tmp_path / "train.jsonl").read_text())["id"] == "a"
