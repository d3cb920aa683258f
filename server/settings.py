"""Settings of the server, with units and defaults. Environment variables: SSVD_ and the name in capitals.

`python -m server.settings` prints the table of docs/serving.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters_store.remote_storage import Elsewhere
from adapters_store.store import MAX_ADAPTER_BYTES
from server.aliases import read_aliases
from server.auto_options import AutoOptions, Hints
from ssvd_asr.audio.read import AudioLimits
from ssvd_asr.decoding.options import (
    KEYWORD_NATS,
    KEYWORD_NATS_WITHOUT_CTC,
    MAX_BEAM_SIZE,
    MAX_KEYWORD_NATS,
    DecodingOptions,
    Method,
)
from ssvd_asr.errors import SsvdError
from ssvd_asr.mixing.compression import Compression

_LIMITS = AudioLimits()
PREFIX = "SSVD_"
Auth = Literal["auto", "on", "off"]
_SETTING_OF_LIMIT = {"max_bytes": "max_upload_bytes"}  # of those with another name
# As browsers send it: a scheme, a host, and a port if it is not the scheme's own.
_ORIGIN = re.compile(r"(?!https:.*:443$|http:.*:80$)https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


class ServerSettings(BaseSettings):
    """The server's settings. Constructor arguments override the environment, which overrides the defaults."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    base: str = Field(
        default="owsm-nano",
        description="Base model: `owsm-nano`, a hub tag as `openai/whisper-base`, or a path (name).",
    )
    device: str = Field(
        default="auto", description="Where it runs: `auto`, `cpu`, `cuda` or `cuda:<index>` (name)."
    )
    dtype: str = Field(default="auto", description="Number format: `auto`, `float32` or `bfloat16` (name).")
    store: str | Path | None = Field(
        default=None,
        description="Where published adapters are: a folder, `s3://bucket/prefix` or "
        "`hf://owner/repository`; empty means the user's own folder (path or URL).",
    )
    store_refresh_s: float = Field(
        default=Elsewhere.refresh_s,
        ge=0,
        description="With a store at a URL, how old what is known of it may be: a change made elsewhere is "
        "seen after so long (seconds).",
    )
    store_cache_max_bytes: int = Field(
        default=Elsewhere.cache_max_bytes,
        gt=0,
        description="With a store at a URL, adapter files that are kept on this machine, in "
        "`SSVD_CACHE_DIR` (bytes).",
    )
    watch: Path | None = Field(
        default=None,
        description="Folder in which adapter files put as NAME.safetensors are published as NAME; empty "
        "watches none (path).",
    )
    max_adapter_bytes: int = Field(
        default=MAX_ADAPTER_BYTES,
        gt=0,
        le=MAX_ADAPTER_BYTES,
        description="Largest request that publishes an adapter over HTTP; more is 413 (bytes).",
    )
    language: str = Field(
        default="eng",
        description="Language of requests that name none: ISO 639-1 or 639-3, as the base has it (code).",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on (IP address or host name).")
    port: int = Field(
        default=8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one (TCP port)."
    )
    ui: bool | None = Field(
        default=None,
        description="Whether the demo page is served under /ui; empty means where the extra `ui` is "
        "installed (true or false).",
    )
    auth: Auth = Field(
        default="auto",
        description="Who needs a key: `on` everyone; `auto` everyone, unless only this machine reaches the "
        "address and there is no file of keys; `off` nobody (name).",
    )
    keys: Path | None = Field(
        default=None, description="File of keys, as `ssvd keys` writes it; empty means the user's own (path)."
    )
    metrics_public: bool = Field(
        default=False,
        description="Whether /metrics, which names all domains, needs no admin's key where keys are asked "
        "for (true or false).",
    )
    cors_origins: str | None = Field(
        default=None,
        description="Origins whose pages may call the API from a browser, with commas between them; "
        "`*` allows all, empty none (`https://` and a host name).",
    )
    model_aliases: str | None = Field(
        default=None,
        description="Other names of models, for clients that send a fixed one, with commas between them: "
        "`whisper-1=owsm-nano, gpt-4o-transcribe=owsm-nano:auto` (name=model).",
    )
    max_upload_bytes: int = Field(
        default=25 * 2**20, gt=0, description="Largest request body; more is 413 (bytes)."
    )
    max_duration_s: float = Field(
        default=600.0, gt=0, description="Longest audio of one request; more is 422 (seconds)."
    )
    max_channels: int = Field(
        default=_LIMITS.max_channels, gt=0, description="Most channels of an upload; more is 422 (channels)."
    )
    max_source_rate_hz: int = Field(
        default=_LIMITS.max_source_rate_hz,
        gt=0,
        description="Highest sampling rate of an upload; more is 422 (Hz).",
    )
    max_decoders: int = Field(
        default=4,
        ge=2,
        description="Uploads that are decoded to samples at the same time; one place is for uploads smaller "
        "than all others (uploads).",
    )
    decoders_max_bytes: int = Field(
        default=512 * 2**20,
        gt=0,
        description="Memory of uploads that are being decoded, by what their bytes may hold; an eighth is "
        "for uploads smaller than all others (bytes).",
    )
    max_prompt_chars: int = Field(
        default=1000, ge=0, description="Longest `prompt` of a request; more is 422 (characters)."
    )
    queue_max_audio_s: float = Field(
        default=1200.0,
        gt=0,
        description="Audio that may wait for the device, before padding; more is 429 (seconds of audio).",
    )
    search: Method | None = Field(
        default=DecodingOptions.method,
        description="How words are found: `checked` (greedy, and a beam search for rows that CTC doubts), "
        "`beam`, `greedy` or `ctc`, CTC's best path without a decoder. Default: `checked`, or `ctc` for a "
        "base without a decoder (name).",
    )
    beam_size: int = Field(
        default=DecodingOptions.beam_size,
        ge=1,
        le=MAX_BEAM_SIZE,
        description="Hypotheses of a row that a beam search follows (hypotheses).",
    )
    ctc_weight: float = Field(
        default=DecodingOptions.ctc_weight,
        ge=0,
        lt=1,
        description="Weight of the CTC score in a beam search; the decoder has the rest (share of 1).",
    )
    doubt_nats: float = Field(
        default=DecodingOptions.doubt_nats,
        ge=0,
        description="`checked` decodes a row again if CTC's best path is more probable than its words by "
        "more than this (nats).",
    )
    keyword_nats: float | None = Field(
        default=DecodingOptions.keyword_nats,
        ge=0,
        le=MAX_KEYWORD_NATS,
        description="Bonus in a beam search for each piece of a request's keywords; more finds more of them, "
        f"and says more that were not spoken. By default {KEYWORD_NATS:g}, and {KEYWORD_NATS_WITHOUT_CTC:g} "
        "where CTC has no say (nats).",
    )
    times: Literal["aligned", "base"] = Field(
        default="aligned",
        description="Where times of segments come from: `aligned` to the words, or `base`: the base says its "
        "own, which may change its words (name).",
    )
    auto_decode: int = Field(
        default=AutoOptions.decode,
        ge=1,
        le=16,
        description="`domain=auto` decodes a recording's beginning in the base and in so many domains, those "
        "whose voices it is most like (domains).",
    )
    auto_sure: float = Field(
        default=AutoOptions.sure,
        gt=0,
        description="It decodes in one alone if that is the most like with this probability; above 1 never "
        "(share of 1).",
    )
    auto_margin: float = Field(
        default=AutoOptions.margin,
        ge=0,
        description="A domain has to find its words so much more probable than the base does its own (nats a "
        "token).",
    )
    auto_ctc_weight: float = Field(
        default=AutoOptions.ctc_weight,
        ge=0,
        description="What CTC's score counts beside the decoder's when transcripts are compared (factor).",
    )
    auto_heard_s: float = Field(
        default=AutoOptions.heard_s,
        gt=0,
        description="How much audio decides for a recording, from its beginning (seconds).",
    )
    auto_per_piece: bool = Field(
        default=AutoOptions.per_piece,
        description="Whether each piece of a recording gets a domain of its own, for several speakers "
        "(true or false).",
    )
    hints: Hints = Field(
        default="verbose_json",
        description="Which replies warn of a domain that suits the recording clearly better than the "
        "one asked for: `verbose_json`, `always` or `never`. It may take a second decoding (name).",
    )
    realtime_max_sessions: int = Field(
        default=64,
        ge=0,
        description="Live sessions open at the same time; more are closed with 1013 (sessions).",
    )
    realtime_max_turn_s: float = Field(
        default=60.0,
        gt=0,
        description="Longest turn of a live session: then it ends, or a client that commits itself gets an "
        "error (seconds).",
    )
    realtime_step_s: float = Field(
        default=0.8,
        gt=0,
        description="While one speaks, the turn so far is decoded again when so much of it is new (seconds).",
    )
    realtime_idle_s: float = Field(
        default=300.0,
        gt=0,
        description="A live session in which nothing comes for so long is closed (seconds).",
    )
    batch_max_audio_s: float = Field(
        default=240.0,
        gt=0,
        description="Audio decoded together, every row counted as the window it is padded to; "
        "a GPU takes 1000 and more (seconds of audio).",
    )
    request_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="Longest a request may wait for the device; then it is 504, or 429 at once where what "
        "goes before it takes longer at the measured speed (seconds).",
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="Threads of the model on a CPU; 0 takes OMP_NUM_THREADS, "
        "else one a core, within a quota (threads).",
    )
    bank_max_bytes: int = Field(
        default=2 * 2**30,
        gt=0,
        description="Memory of the device for domains as it computes with them; "
        "beyond it the least recently used leave first (bytes).",
    )
    bank_host_max_bytes: int = Field(
        default=2 * 2**30,
        gt=0,
        description="Memory of the host for domains packed as in their files; what waiting requests need "
        "stays, and where it leaves no room it is 503 (bytes).",
    )
    bank_max_blends: int = Field(
        default=32,
        ge=1,
        description="Blends, as child*0.8+scottish*0.8, in use at the same time; more are 503 (blends).",
    )
    hot_max_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Memory of the device for merged weights of the domains asked for most; by default "
        "256 MiB, on a GPU a quarter of its memory (bytes).",
    )
    basis_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Of each layer's singular directions, how many the device holds; a domain that turns "
        "others, as every one of tail directions does, is refused (share of 1).",
    )
    compressed_rank: int = Field(
        default=0,
        ge=0,
        description="Rank at which the cores of domains are held; 0 holds them whole. Saves memory of the "
        "device, and is not exact (rank).",
    )
    compressed_max_error: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="With a compressed_rank, the most that a core may lose of its norm; a domain that loses "
        "more is refused (share of 1).",
    )
    load_timeout_s: float = Field(
        default=60.0, gt=0, description="Longest that loading a domain may take; then it is 503 (seconds)."
    )
    preload: bool = Field(
        default=True,
        description="Whether domains are loaded at the start, as far as they fit, and not only with their "
        "first request (true or false).",
    )
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

    @field_validator("model_aliases")
    @classmethod
    def _aliases_are_pairs(cls, value: str | None) -> str | None:
        read_aliases(_listed(value))
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, value: str | None) -> str | None:
        for origin in _listed(value):
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: use https://name or https://name:port, in lower case and "
                    "without a path"
                )
        return value

    @model_validator(mode="after")
    def _the_longest_request_fits_the_queue(self) -> ServerSettings:
        if self.queue_max_audio_s < self.max_duration_s:
            raise ValueError(
                f"queue_max_audio_s={self.queue_max_audio_s:g} is less than max_duration_s="
                f"{self.max_duration_s:g}: a request of that length could never be accepted"
            )
        return self

    @property
    def elsewhere(self) -> Elsewhere:
        """How a store at a URL is read."""
        return Elsewhere(self.store_refresh_s, self.store_cache_max_bytes)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins whose pages may call the API."""
        return _listed(self.cors_origins)

    @property
    def aliases(self) -> dict[str, str]:
        """The models of the other names."""
        return read_aliases(_listed(self.model_aliases))

    @property
    def decoding(self) -> DecodingOptions:
        """How words are found."""
        return DecodingOptions(
            self.search, self.beam_size, self.ctc_weight, self.doubt_nats, self.keyword_nats
        )

    @property
    def auto(self) -> AutoOptions:
        """How `domain=auto` chooses."""
        return AutoOptions(
            self.auto_decode, self.auto_sure, self.auto_margin, self.auto_ctc_weight,
            self.auto_heard_s, self.auto_per_piece,
        )  # fmt: skip

    def hints_for(self, response_format: str) -> bool:
        """Return whether replies of a format warn of a domain that suits better."""
        return self.hints == "always" or self.hints == response_format

    @property
    def compression(self) -> Compression | None:
        """How cores are compressed; None holds them whole."""
        return Compression(self.compressed_rank, self.compressed_max_error) if self.compressed_rank else None

    @property
    def audio_limits(self) -> AudioLimits:
        """Limits on decoding one upload."""
        return AudioLimits(
            max_duration_s=self.max_duration_s,
            max_bytes=self.max_upload_bytes,  # as _SETTING_OF_LIMIT says
            max_channels=self.max_channels,
            max_source_rate_hz=self.max_source_rate_hz,
        )


def _listed(value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


def load_settings(**chosen: Any) -> ServerSettings:
    """Return the settings of the environment, overridden by the values in `chosen` that are not None.

    Raises SsvdError naming the setting, its value and the rule.
    """
    try:
        return ServerSettings(**{name: value for name, value in chosen.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise SsvdError(first["msg"]) from error
        name = str(first["loc"][0]).removeprefix(PREFIX.lower())
        raise SsvdError(f"{PREFIX}{name.upper()}={first['input']!r}: {first['msg']}") from error


def with_settings_named(message: str) -> str:
    """Return the message of an AudioLimitError with the variable of the setting in place of the limit's name.

    A limit that no setting changes keeps its name.
    """

    def variable(limit: re.Match[str]) -> str:
        name = _SETTING_OF_LIMIT.get(limit[1], limit[1])
        return f"({PREFIX}{name.upper()})" if name in ServerSettings.model_fields else limit[0]

    return re.sub(r"\((m(?:ax|in)_\w+)\)", variable, message)


def settings_table() -> str:
    """Return the settings as a Markdown table."""
    rows = ["| variable | meaning (unit) | default |", "|---|---|---|"]
    for name, field in ServerSettings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {field.description} | {default} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(settings_table())
