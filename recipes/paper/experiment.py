"""Training on a prepared corpus by `ssvd train`, and the comparison with the paper's rows.

OUT/runs/RUN is a run's folder as written by `ssvd train`, plus asked.json: size, options, and the settings of
the manifests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.entries import REPORT_FILE, SPLITS, write_json
from recipes.paper.figures import DATA, ROWS, SIZES, PaperRow, same_row
from recipes.paper.options import TrainOptions
from recipes.paper.place import is_first
from ssvd_asr.errors import DataError

RUNS = "runs"
ASKED_FILE = "asked.json"
COMPARISON = "comparison"  # .json and .md


def train(corpus: str, language: str, out: Path, size: str, run: str, options: Sequence[str]) -> int:
    """Run or resume `ssvd train` on OUT's manifests and return its exit status; skip a finished run.

    Args:
        options: further options of `ssvd train`; --base and --p default to the paper's values for ``size``.

    Raises:
        DataError: nothing is prepared, ``run`` is finished with other options, or the recipe sets an option.
    """
    from training.loop.run import RESULT_FILE

    given = TrainOptions.read(options)
    if not (out / REPORT_FILE).is_file():
        raise DataError(f"nothing is prepared in {out}: it has no {REPORT_FILE}; give --corpus")
    folder = out / RUNS / run
    asked = {"size": size, "options": list(options), "prepared": _read(out / REPORT_FILE)["asked"]}
    if (folder / RESULT_FILE).is_file():
        before = _read(folder / ASKED_FILE)
        if before != asked:
            raise DataError(
                f"{folder} is a finished run of {before}, asked for is {asked}; choose another --run"
            )
        return 0
    if is_first(given.processes):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / ASKED_FILE, asked)
    from training import train_command
    from training.loop.checkpoint import FILE_NAME

    data = zip(("--data", "--valid", "--test"), SPLITS, strict=True)
    arguments = ["--domain", corpus, "--language", language, "--out", str(folder)]
    arguments += ["--scale", "1"]  # the paper's adapters are as trained
    arguments += [f"{role}={out / f'{split}.jsonl'}" for role, split in data]
    arguments += ["--resume"] if (folder / FILE_NAME).exists() else []
    if given.base is None:
        arguments += ["--base", SIZES[size].base]
    if given.papers_share:
        arguments += ["--p", str(SIZES[size].p)]
    return train_command.main([*arguments, *options])


def compare(corpus: str, out: Path) -> dict[str, Any] | None:
    """Write comparison.json and comparison.md of OUT's finished runs; return None if there are none."""
    from training.loop.run import RESULT_FILE

    runs = [_run(path.parent) for path in sorted((out / RUNS).glob(f"*/{RESULT_FILE}"))]
    if not runs:
        return None
    report = _read(out / REPORT_FILE)
    others = [run["run"] for run in runs if run["prepared"] != report["asked"]]
    runs = [run for run in runs if run["run"] not in others]
    rows = [row for size in SIZES for row in _rows_of_size(corpus, size, runs)]
    test = report["splits"]["test"]
    notes = list(report["notes"])
    notes += [f"Not shown: run {name}, made on manifests of other rules." for name in others]
    if test["kept"] != test["kept_in_paper"]:
        notes.append(
            f"Another test set than the paper's: {test['kept']} utterances, there {test['kept_in_paper']}."
        )
    found = {"corpus": corpus, "notes": notes, "splits": report["splits"], "rows": rows}
    write_json(out / f"{COMPARISON}.json", found)
    (out / f"{COMPARISON}.md").write_text(markdown(found), encoding="utf-8")
    return found


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _run(folder: Path) -> dict[str, Any]:
    """Return the settings and the result of a finished run."""
    from training.loop.run import RESULT_FILE

    asked, result = _read(folder / ASKED_FILE), _read(folder / RESULT_FILE)
    method = TrainOptions.read(asked["options"]).name
    return {**result, **asked, "run": folder.name, "method": method}


def _rows_of_size(corpus: str, size: str, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the paper's rows of one base with ours beside them, then our other rows."""
    ours = [run for run in runs if run["size"] == size]
    if not ours:
        return []
    rows, matched = [], set()
    for paper in (row for row in ROWS if row.size == size):
        if paper.method == "zero-shot":
            # Every run scores its base first; equal bases give equal rates.
            bases = {run["base_digest"]: run for run in ours}
            rows += [_row(corpus, paper, run, "before") for run in bases.values()]
            continue
        same = [run for run in ours if same_row(paper, size, run["method"], run["parameters"])]
        matched |= {run["run"] for run in same}
        rows += [_row(corpus, paper, run, "after") for run in same] or [_row(corpus, paper, None, "after")]
    rest = [run for run in ours if run["run"] not in matched]
    return rows + [_row(corpus, None, run, "after") for run in rest]


def _row(corpus: str, paper: PaperRow | None, run: Mapping[str, Any] | None, when: str) -> dict[str, Any]:
    """Return one line of the table. The paper's WER is in percent as printed; ours are ratios."""
    row: dict[str, Any] = {
        "size": None,
        "method": None,
        "setting": None,
        "millions_paper": None,
        "wer_paper": None,
    }
    if paper is not None:
        row = {
            "size": paper.size,
            "method": paper.method,
            "setting": paper.setting,
            "millions_paper": paper.printed_millions,
            "wer_paper": paper.wer[corpus],
        }
    if run is None:
        return {**row, "run": None}
    if paper is None:
        row |= {"size": run["size"], "method": run["method"], "setting": " ".join(run["options"])}
    return {
        **row,
        "run": run["run"],
        "options": [] if when == "before" else run["options"],
        "base": run["base"],
        "base_digest": run["base_digest"],
        "parameters": 0 if when == "before" else run["parameters"],
        "wer": run[f"wer_{when}"],
        "wer_raw": run[f"wer_raw_{when}"],
        "cer": run[f"cer_{when}"],
        "utterances": run["evaluated_utterances"],
        "sha256": None if when == "before" else run["sha256"],
    }


def markdown(found: Mapping[str, Any]) -> str:
    """Return the table as a Markdown page. Every figure in it is in ``found``."""
    title = DATA[found["corpus"]].title
    lines = [
        f"# {title}: the paper's rows and ours",
        "",
        "WER in percent on the test set, of normalised texts (`ssvd_asr/scoring.py`); raw: as they are.",
        "",
        *[f"- {note}" for note in found["notes"]],
        "",
        "| base | method | parameters, paper | WER, paper | parameters, ours | WER, ours | raw, ours | run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        ours = ["-"] * 4
        if row["run"] is not None:
            ours = [
                _millions(row["parameters"] / 1e6),
                f"{row['wer']:.1%}"[:-1],
                f"{row['wer_raw']:.1%}"[:-1],
            ]
            options = " ".join(row["options"])
            # A row without a counterpart in the paper shows its options as the setting already.
            asked = f", `{options}`" if options not in ("", row["setting"]) else ""
            ours.append(f"{row['run']} ({row['base']}{asked})")
        paper = [
            _millions(row["millions_paper"]),
            "-" if row["wer_paper"] is None else f"{row['wer_paper']:.1f}",
        ]
        cells = [row["size"], f"{row['method']} {row['setting']}".strip(), *paper, *ours]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _millions(count: float | None) -> str:
    return "-" if count is None else f"{count:.2f} M"
