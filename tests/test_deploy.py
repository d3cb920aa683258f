"""The files in deploy/ name settings, routes, files and ports that exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.api import health, metrics
from server.configuration.names import check_variables
from server.serve_command import _parser
from server.settings import ServerSettings, load
from ssvd_asr.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = (DEPLOY / "ssvd.service").read_text(encoding="utf-8")
COMPOSE_TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVER: dict[str, Any] = COMPOSE["services"]["ssvd"]
PORT = ServerSettings.model_fields["port"].default


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def of_unit(name: str) -> list[str]:
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT)


def test_the_container_sets_only_settings_and_values_that_they_take() -> None:
    check_variables(SERVER["environment"], ServerSettings.model_fields)
    load({name.removeprefix("SSVD_").lower(): value for name, value in SERVER["environment"].items()})


def test_the_container_may_write_to_its_volume_and_tmp_only() -> None:
    volume = re.findall(r"(?m)^VOLUME (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert SERVER["read_only"] is True
    assert "no-new-privileges:true" in SERVER["security_opt"]
    assert [each.split(":")[1] for each in SERVER["volumes"]] == volume
    assert [each.split(":")[0] for each in SERVER["tmpfs"]] == ["/tmp"]


def test_the_container_is_healthy_when_a_route_that_exists_answers() -> None:
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", SERVER["healthcheck"]["test"][-1])
    assert found
    assert int(found[1]) == PORT
    assert found[2] in {getattr(route, "path", "") for route in health.router.routes}


def test_every_service_listens_on_this_machine_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert f"127.0.0.1:{PORT}:{PORT}" in ports


def test_what_is_mounted_exists_and_every_volume_is_declared() -> None:
    sources = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
    ]
    files = [source for source in sources if source.startswith(".")]
    made = re.findall(r"> deploy/(\S+)", COMPOSE_TEXT)  # by the commands at its head
    assert [file for file in files if not (DEPLOY / file).is_file()] == [f"./{file}" for file in made]
    assert set(sources) - set(files) == set(COMPOSE["volumes"])


def test_prometheus_asks_the_server_and_grafana_asks_prometheus() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = [target for job in jobs for static in job["static_configs"] for target in static["targets"]]
    assert targets == [f"ssvd:{PORT}"]
    assert "/metrics" in {getattr(route, "path", "") for route in metrics.router.routes}
    sources = yaml.safe_load((DEPLOY / "grafana" / "sources.yaml").read_text(encoding="utf-8"))
    assert [each["url"] for each in sources["datasources"]] == ["http://prometheus:9090"]
    boards = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yaml").read_text(encoding="utf-8"))
    (folder,) = (each["options"]["path"] for each in boards["providers"])
    mounted = {volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]}
    assert f"{folder}/ssvd.json" in mounted
    json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))


def test_the_unit_starts_a_command_that_exists_with_a_file_that_is_installed() -> None:
    program, command, *rest = shlex.split(of_unit("ExecStart")[0])
    assert Path(program).name == "ssvd"
    assert command in COMMANDS
    config = _parser().parse_args(rest).config
    assert f"install -D deploy/server.toml {config}" in UNIT


def test_the_unit_sets_only_settings() -> None:
    variables = dict(each.split("=", 1) for each in of_unit("Environment"))
    check_variables(variables, ServerSettings.model_fields)
    assert {"SSVD_STORE", "SSVD_CACHE_DIR"} <= set(variables)
    places = ("/var/lib/ssvd/", "/var/cache/ssvd/")
    assert all(value.startswith(places) for value in variables.values())


def test_who_stops_the_server_waits_longer_than_it_takes() -> None:
    drained = load({}, DEPLOY / "server.toml").settings
    assert seconds(of_unit("TimeoutStopSec")[0]) > drained.drain_notice_s + drained.drain_timeout_s
    told = SERVER["environment"]
    assert seconds(SERVER["stop_grace_period"]) > float(told["SSVD_DRAIN_NOTICE_S"]) + float(
        told["SSVD_DRAIN_TIMEOUT_S"]
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    here = tmp_path / "ssvd.service"
    here.write_text(UNIT.replace("/opt/ssvd-asr/venv/bin/ssvd", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(here)], capture_output=True, text=True)
    assert (done.returncode, "ssvd.service" in done.stderr) == (0, False), done.stderr


PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")


def test_the_page_names_only_settings() -> None:
    named = set(re.findall(r"\bSSVD_[A-Z0-9_]+\b", PAGE))
    check_variables(dict.fromkeys(named, ""), ServerSettings.model_fields)
