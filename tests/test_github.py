"""What GitHub reads: the workflow runs our one command, and the forms are of the kind that GitHub takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssvd_asr.cli import COMMANDS

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


def parsed(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def test_the_workflow_runs_make_test_on_pushes_and_pull_requests() -> None:
    workflow = parsed(GITHUB / "workflows" / "test.yml")
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads `on` as true
    (job,) = workflow["jobs"].values()
    assert job["runs-on"].startswith("ubuntu")
    assert job["timeout-minutes"] > 0
    assert job["steps"][-1] == {"run": "make test"}


def test_the_workflows_python_is_the_projects() -> None:
    (job,) = parsed(GITHUB / "workflows" / "test.yml")["jobs"].values()
    (version,) = [
        step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")
    ]
    assert version == (ROOT / ".python-version").read_text(encoding="utf-8").strip()


def test_the_workflow_installs_debians_packages_but_the_browser_of_the_image() -> None:
    (job,) = parsed(GITHUB / "workflows" / "test.yml")["jobs"].values()
    (line,) = [step["run"] for step in job["steps"] if "apt-get install" in step.get("run", "")]
    wanted = set((ROOT / "debian-packages.txt").read_text(encoding="utf-8").split())
    assert wanted - set(line.split()) == {"chromium", "chromium-driver"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_github_asks_for(path: Path) -> None:
    form = parsed(path)
    assert form.keys() >= {"name", "description", "body"}
    assert {field["type"] for field in form["body"]} <= {
        "textarea",
        "input",
        "dropdown",
        "markdown",
        "checkboxes",
    }
    assert all(field["attributes"]["label"] for field in form["body"])
    ids = [field["id"] for field in form["body"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_every_command_of_a_form_exists(path: Path) -> None:
    assert set(re.findall(r"`ssvd ([a-z]+)", path.read_text(encoding="utf-8"))) <= set(COMMANDS)


def test_there_are_forms_for_bugs_and_for_features() -> None:
    assert [path.stem for path in FORMS] == ["bug_report", "feature_request"]
    assert "blank_issues_enabled" in parsed(GITHUB / "ISSUE_TEMPLATE" / "config.yml")
