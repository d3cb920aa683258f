"""Settings of stopping, of the log, and of what stands before the server."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from server.configuration.lists import listed

NOBODY = "none"
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class OperatingSettings(BaseModel):
    """The end of the process, its log and its proxies."""

    drain_notice_s: float = Field(
        default=1.0,
        ge=0,
        description="After SIGTERM, how long /readyz says 503 before connections are refused (seconds).",
    )
    drain_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="After SIGTERM, how long accepted requests may take to finish (seconds).",
    )
    log_format: LogFormat = Field(
        default="text", description="Form of the log's lines: `text`, or `json`, an object a line (name)."
    )
    log_level: LogLevel = Field(
        default="info",
        description="What is logged: `debug`, `info`, `warning` or `error` and what is worse (name).",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, with commas between "
        "them; `*` believes everybody, `none` nobody (IP address or network).",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, value: str) -> str:
        for proxy in () if value in ("*", NOBODY) else listed(value):
            try:
                ip_network(proxy)
            except ValueError as error:
                raise ValueError(
                    f"{error}: use an address as 10.0.0.7, or a network as 10.0.0.0/8"
                ) from error
        return value

    @property
    def proxies(self) -> tuple[str, ...]:
        """Addresses and networks of proxies; `*` for all."""
        return () if self.trusted_proxies == NOBODY else listed(self.trusted_proxies)
