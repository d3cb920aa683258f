"""All settings of the server, with units and defaults: arguments, SSVD_ variables, a TOML file, defaults.

`python -m server.settings` prints the table of docs/serving.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.configuration.access import AccessSettings
from server.configuration.bank import BankSettings
from server.configuration.choosing import ChoosingSettings
from server.configuration.decoding import DecodingSettings
from server.configuration.device import DeviceSettings
from server.configuration.limits import LimitSettings
from server.configuration.live import LiveSettings
from server.configuration.names import PREFIX, check_variables, variable_of
from server.configuration.operating import OperatingSettings
from server.configuration.serving import ServingSettings
from server.configuration.store import StoreSettings
from server.configuration.toml import read_toml, written
from ssvd_asr.errors import SsvdError

DEFAULT = "default"


class ServerSettings(
    # pydantic lists the fields of the last base first
    OperatingSettings,
    BankSettings,
    DeviceSettings,
    LiveSettings,
    ChoosingSettings,
    DecodingSettings,
    LimitSettings,
    AccessSettings,
    StoreSettings,
    ServingSettings,
    BaseSettings,
):
    """The server's settings. Constructor arguments override the environment, which overrides the defaults.

    An empty variable counts as one that is not set.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", allow_inf_nan=False
    )


@dataclass(frozen=True)
class Loaded:
    """Settings, and where each comes from: an option, a variable, a line of a file, or DEFAULT."""

    settings: ServerSettings
    sources: Mapping[str, str]

    def as_toml(self) -> str:
        """Return all settings as a file that --config takes, with the source of each.

        Users in addresses are hidden.
        """
        lines = []
        for name, source in self.sources.items():
            value = getattr(self.settings, name)
            line = f"# {name} =" if value is None else f"{name} = {written(value)}"
            lines.append(f"{line}  # {source}")
        return "\n".join(lines)

    def changes(self) -> str:
        """Return the settings that are not defaults in one line, with their sources.

        Users in addresses are hidden.
        """
        found = (
            f"{name}={written(getattr(self.settings, name))} ({source})"
            for name, source in self.sources.items()
            if source != DEFAULT
        )
        return ", ".join(found) or "all are defaults"


def load_settings(**chosen: Any) -> ServerSettings:
    """Return the settings of the environment, overridden by the values in `chosen` that are not None.

    Raises SsvdError as `load` does.
    """
    return load(chosen).settings


def load(chosen: Mapping[str, Any], file: Path | None = None) -> Loaded:
    """Return the settings that arguments, the environment, a TOML file and the defaults give, in this order.

    Args:
        chosen: arguments by the names of their settings; one that is None was not given.

    Raises SsvdError naming the setting, its source, its value and the rule, and for a variable or a key that
    sets nothing.
    """
    check_variables(os.environ, ServerSettings.model_fields)
    given = {name: value for name, value in chosen.items() if value is not None}
    content, places = ({}, {}) if file is None else read_toml(file, ServerSettings.model_fields)
    sources = _sources(given, places)
    of_the_file = {name: content[name] for name, place in places.items() if sources[name] == place}
    try:
        return Loaded(ServerSettings(**of_the_file, **given), sources)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise SsvdError(first["msg"]) from error
        name = str(first["loc"][0]).lower().removeprefix(PREFIX.lower())
        told = f"{sources[name]}: {name}" if sources[name] == places.get(name) else variable_of(name)
        raise SsvdError(f"{told}={first['input']!r}: {first['msg']}") from error


def _sources(given: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, str]:
    """Return where each setting comes from."""
    variables = {name.upper(): name for name, value in os.environ.items() if value}
    sources = {}
    for name in ServerSettings.model_fields:
        if name in given:
            sources[name] = f"--{name.replace('_', '-')}"
        else:
            sources[name] = variables.get(variable_of(name)) or places.get(name) or DEFAULT
    return sources


def settings_table() -> str:
    """Return the settings as a Markdown table."""
    rows = ["| variable | meaning (unit) | default |", "|---|---|---|"]
    for name, field in ServerSettings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{variable_of(name)}` | {field.description} | {default} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(settings_table())
