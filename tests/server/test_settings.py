"""Settings: documented one by one, with a unit, read from the environment, refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.settings import ServerSettings, load_settings, settings_table, with_settings_named
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
