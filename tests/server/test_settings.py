"""Settings: documented one by one, with a unit, read from the environment, refused by name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from server import serve_command
from server.configuration.limits import with_settings_named
from server.configuration.names import OTHER_VARIABLES, variable_of
from server.settings import DEFAULT, ServerSettings, load, load_settings, settings_table
from ssvd_asr.audio.limits import AudioLimits
from ssvd_asr.errors import SsvdError

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"


def test_the_docs_hold_the_table_of_settings_as_it_is() -> None:
    """`python -m server.settings` prints it."""
    assert settings_table() in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ServerSettings.model_fields)
def test_every_setting_has_a_description_that_ends_with_its_unit(name: str) -> None:
    description = ServerSettings.model_fields[name].description or ""
    assert re.search(r"\(([^()]+)\)\.$", description), description


FLOATS = [n for n, f in ServerSettings.model_fields.items() if f.annotation in (float, float | None)]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
@pytest.mark.parametrize("name", FLOATS)
def test_a_number_that_is_not_finite_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable_of(name), value)
    with pytest.raises(SsvdError, match=variable_of(name)):
        load_settings()


def test_the_environment_sets_and_an_argument_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSVD_PORT", "9001")
    monkeypatch.setenv("SSVD_UI", "false")
    assert load_settings().port == 9001
    assert load_settings(port=9002, base=None).port == 9002
    assert not load_settings().ui


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSVD_PORT", "70000"),
        ("SSVD_MAX_DURATION_S", "-1"),
        ("SSVD_UI", "perhaps"),
        ("SSVD_BANK_MAX_BYTES", "x"),
        ("SSVD_CORS_ORIGINS", "app.example.org"),
        ("SSVD_CORS_ORIGINS", "https://app.example.org/"),
        ("SSVD_CORS_ORIGINS", "https://app.example.org, HTTPS://OTHER"),
        ("SSVD_CORS_ORIGINS", "https://app.example.org:443"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SsvdError, match=f"{variable}='{value}'"):
        load_settings()


def test_a_queue_that_could_never_take_the_longest_request_is_refused() -> None:
    with pytest.raises(SsvdError, match="queue_max_audio_s=10 is less than max_duration_s=20"):
        load_settings(queue_max_audio_s=10, max_duration_s=20)


def test_audio_limits_are_those_of_the_settings() -> None:
    limits = load_settings(max_duration_s=7, max_upload_bytes=99, max_channels=1).audio_limits
    assert (limits.max_duration_s, limits.max_bytes, limits.max_channels) == (7, 99, 1)


def test_a_refusal_names_the_variable_of_each_limit_that_a_setting_changes() -> None:
    """It said `SSVD_ and that name in capitals`, also of limits that no variable changes."""
    changed = load_settings(max_duration_s=7, max_upload_bytes=99, max_channels=1, max_source_rate_hz=9999)
    for name, value in vars(AudioLimits()).items():
        told = with_settings_named(f"a.wav: over the limit ({name})")
        variable = told.split("(")[1].removesuffix(")")
        if getattr(changed.audio_limits, name) == value:
            assert variable == name
        else:
            assert f"`{variable}`" in settings_table()


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("SSVD_MAX_UPLOAD_BYTE", "did you mean SSVD_MAX_UPLOAD_BYTES?"),
        ("ssvd_prot", "did you mean SSVD_PORT?"),
        ("SSVD_CACHEDIR", "did you mean SSVD_CACHE_DIR?"),
        ("SSVD_ENTIRELY_DIFFERENT", "docs/serving.md lists them"),
    ],
)
def test_a_variable_that_sets_nothing_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, variable: str, told: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SsvdError, match=re.escape(f"{variable} is not a setting; {told}")):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSVD_PORT", "tcp://10.0.0.1:80"),
        ("SSVD_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("SSVD_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("SSVD_SERVICE_HOST", "10.0.0.1"),
        ("SSVD_SERVICE_PORT_HTTP", "80"),
        ("SSVD_CANARY_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_variables_of_a_service_in_kubernetes_are_told_for_what_they_are(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SsvdError, match=f"{variable}='{value}'.*enableServiceLinks: false"):
        load_settings()


def test_every_variable_that_the_source_names_is_a_setting_or_in_the_list() -> None:
    known = {*map(variable_of, ServerSettings.model_fields), *OTHER_VARIABLES}
    named = {
        variable
        for folder in ("ssvd_asr", "adapters_store", "training", "server", "ui", "recipes", "benchmarks")
        for path in (DOCS.parents[1] / folder).rglob("*.py")
        for variable in re.findall(r'"(SSVD_[A-Z0-9]\w*)"', path.read_text(encoding="utf-8"))
    }
    assert named - known == set()


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSVD_STORE", "SSVD_UI", "SSVD_PORT"):
        monkeypatch.setenv(name, "")
    assert (load_settings().store, load_settings().ui, load_settings().port) == (None, None, 8000)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSVD_HOST", "10.1.1.1")
    path = tmp_path / "server.toml"
    path.write_text('host = "10.2.2.2"\nport = 9000\npreload = false\n')
    return path


def test_arguments_go_before_variables_before_the_file_before_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSVD_KEYS")  # of all tests
    loaded = load({"port": 9999, "base": None}, file)
    settings = loaded.settings
    assert (settings.port, settings.host, settings.preload, settings.dtype) == (
        9999, "10.1.1.1", False, "auto"
    )  # fmt: skip
    sources = [loaded.sources[name] for name in ("port", "host", "preload", "dtype")]
    assert sources == ["--port", "SSVD_HOST", f"{file}:3", DEFAULT]
    assert loaded.changes() == f'host="10.1.1.1" (SSVD_HOST), port=9999 (--port), preload=false ({file}:3)'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "port = 8000\n\nmax_duration = 5",
            ":3: max_duration is not a setting; did you mean max_duration_s?",
        ),
        ("port = 80000", ":1: port=80000: "),
        ("# one\nui = 'perhaps'", ":2: ui='perhaps': "),
        ("[bank]\nmax_bytes = 5", r":1: \[bank\]: settings stand in no table"),
        ("port = ", r": .*\(at .*\)"),
        ("port = 1\nport = 2", ": Cannot overwrite a value"),
        ("max_duration_s = 9999", "queue_max_audio_s=3600 is less than max_duration_s=9999"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_its_line(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    place = "" if told.startswith("queue") else re.escape(str(file))
    with pytest.raises(SsvdError, match=place + told):
        load({}, file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "none.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SsvdError, match=f"--config {path}: "):
        load({}, path)


def test_the_printed_settings_are_a_file_that_gives_the_same(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve_command.main(["--config", str(file), "--print-config", "--dtype", "bfloat16"]) == 0
    printed = capsys.readouterr().out
    again = tmp_path / "again.toml"
    again.write_text(printed)
    assert load({}, again).settings.model_dump() == load({"dtype": "bfloat16"}, file).settings.model_dump()
    assert f"port = 9000  # {file}:2" in printed
    assert set(tomllib.loads(printed)) | set(re.findall(r"(?m)^# (\w+) =", printed)) == set(
        ServerSettings.model_fields
    )


@pytest.mark.parametrize(
    "user", ["name:secret", "secret", "name:sec/secret", "name:secret@secret", ":secret"]
)
def test_what_a_url_says_of_its_user_is_not_printed(user: str) -> None:
    loaded = load({"base": f"s3://{user}@place/base"})
    assert "secret" not in loaded.as_toml() + loaded.changes()
    assert "s3://***@place/base" in loaded.as_toml()


def test_a_branch_in_a_url_is_printed() -> None:
    assert "hf://owner/name@branch/folder" in load({"store": "hf://owner/name@branch/folder"}).as_toml()


def test_the_example_is_a_file_of_settings() -> None:
    example = DOCS.parents[1] / "deploy" / "server.toml"
    told = load({}, example).sources.values()
    assert any(source.startswith(str(example)) for source in told)
    commented: dict[str, Any] = tomllib.loads(
        re.sub(r"(?m)^# (\w+ = )", r"\1", example.read_text(encoding="utf-8"))
    )
    assert set(commented) <= set(ServerSettings.model_fields)


@pytest.mark.parametrize(
    ("value", "proxies"),
    [("none", ()), ("*", ("*",)), ("10.0.0.0/8, ::1", ("10.0.0.0/8", "::1"))],
)
def test_proxies_are_addresses_or_networks(value: str, proxies: tuple[str, ...]) -> None:
    assert load_settings(trusted_proxies=value).proxies == proxies
    with pytest.raises(SsvdError, match=r"SSVD_TRUSTED_PROXIES='proxy\.example'"):
        load_settings(trusted_proxies="proxy.example")
