"""The Dockerfile cannot be built here, so it is read: every path, command, variable and port in it exists."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from adapters_store.audit import AUDIT_VARIABLE
from server.api import health
from server.configuration.names import check_variables
from server.serve_command import _parser
from server.settings import ServerSettings
from ssvd_asr.cache_root import CACHE_VARIABLE
from ssvd_asr.cli import COMMANDS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
    if line.strip()
]
NAMES = [name for name, _ in INSTRUCTIONS]


def arguments(instruction: str) -> list[str]:
    return [argument for name, argument in INSTRUCTIONS if name == instruction]


COPIED = [source for copy in arguments("COPY") for source in copy.split()[:-1]]


@pytest.mark.parametrize("source", COPIED)
def test_what_is_copied_is_in_the_repository_and_in_the_build_context(source: str) -> None:
    assert (ROOT / source).exists()
    assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines()


def test_the_build_context_holds_nothing_that_is_not_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == set(COPIED)


def test_every_package_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= set(COPIED)
    assert set(project["project"].get("license-files", [])) | {project["project"]["readme"]} <= set(COPIED)


def test_the_dependencies_are_a_layer_before_the_source() -> None:
    copies = [index for index, name in enumerate(NAMES) if name == "COPY"]
    first, source = copies[0], copies[1]
    assert set(INSTRUCTIONS[first][1].split()[:-1]) == {"pyproject.toml", "constraints.txt"}
    assert "--requirements pyproject.toml --extra serve --extra ui" in INSTRUCTIONS[first + 1][1]
    assert first + 1 < source
    assert "--no-deps ." in arguments("RUN")[-1]


def test_cpu_or_gpu_is_one_build_argument_that_uv_knows() -> None:
    assert arguments("ARG") == ["TORCH_BACKEND=cpu"]
    assert "--torch-backend=${TORCH_BACKEND}" in TEXT
    documented = re.findall(r"--build-arg TORCH_BACKEND=(\w+)", TEXT)
    help_text = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--help"], capture_output=True, text=True, check=True
    )
    known = re.split(r"[\s,\]]+", help_text.stdout)
    assert documented
    assert {"cpu", *documented} <= set(known)


def test_it_does_not_run_as_root() -> None:
    (user,) = arguments("USER")
    assert f" {user} " in arguments("RUN")[-1]
    assert user != "root"
    assert NAMES.index("USER") > max(index for index, name in enumerate(NAMES) if name in ("RUN", "COPY"))


def test_every_variable_is_a_setting() -> None:
    variables = dict(pair.split("=") for pair in shlex.split(" ".join(arguments("ENV"))))
    check_variables(variables, ServerSettings.model_fields)
    for name in (
        "SSVD_STORE",
        "SSVD_KEYS",
        AUDIT_VARIABLE,
        CACHE_VARIABLE,
        "HF_HOME",
    ):  # what the server writes
        assert variables[name].startswith(arguments("VOLUME")[0])


def test_the_command_exists_and_takes_its_arguments() -> None:
    program, command, *rest = json.loads(arguments("CMD")[0])
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert program in scripts
    assert command in COMMANDS
    _parser().parse_args(rest)


def test_the_health_check_asks_a_route_that_exists_on_the_port_that_is_exposed() -> None:
    program, flag, code = json.loads(arguments("HEALTHCHECK")[0].partition("CMD ")[2])
    assert (program, flag) == ("python", "-c")
    ast.parse(code)
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", code)
    assert found
    assert found[1] == arguments("EXPOSE")[0] == str(ServerSettings.model_fields["port"].default)
    assert found[2] in {getattr(route, "path", "") for route in health.router.routes}
