"""Fields of POST /v1/audio/transcriptions and /translations: OpenAI's and `domain`."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from server.api.asking import Asked
from server.api.chunking import ServerVad
from server.auto.wish import MODES
from ssvd_asr.audio.read import Channel, parse_channel
from ssvd_asr.audio.segment import CutRule
from ssvd_asr.decoding.keywords import MAX_KEYWORD_CHARS, MAX_KEYWORDS

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)
UNTIMED: tuple[ResponseFormat, ...] = ("json", "text")
SUBTITLES: tuple[ResponseFormat, ...] = ("srt", "vtt")
GRANULARITIES = ("word", "segment")


class AudioForm(BaseModel):
    """The fields besides the file. Some accept one value only, for clients that always send them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None, description="`<base>` or `<base>:<domain>`; left out, the base served here."
    )
    domain: str | None = Field(
        default=None,
        description="`child`, `child@2`, `child@sha256:<digest>`, `child*0.8+scottish*0.8`, or `auto`.",
        examples=["child"],
    )
    auto: str | None = Field(
        default=None,
        description="With `domain=auto`: `full`, or `fast`, which compares no transcripts.",
        json_schema_extra={"enum": list(MODES)},
    )
    language: str | None = Field(
        default=None, description="As `en`, `eng`, `en-US`, `english` or `auto`.", examples=["en"]
    )
    response_format: str = Field(
        default="json", description="How the reply is written.", json_schema_extra={"enum": list(FORMATS)}
    )
    temperature: float = Field(
        default=0.0,
        description="Only 0: decoding draws nothing at random.",
        json_schema_extra={"minimum": 0, "maximum": 0},
    )
    prompt: str = Field(default="", description="What was said before the audio, as text.")
    languages: tuple[str, ...] = Field(
        default=(), description="Languages to choose from, as `language`; one of both is given."
    )
    channel: str = Field(
        default="mix",
        description="The number of one channel of the file, from 0; `mix`; or `each`, transcribed apart.",
        json_schema_extra={"pattern": "^(mix|each|[0-9]+)$"},
    )
    chunking_strategy: ServerVad | str = Field(
        default="auto",
        union_mode="left_to_right",  # so that the first error is about the member, not about a missing text
        description="How audio is cut at silences: `auto`, or `server_vad` by `chunking_strategy[type]`.",
    )

    @property
    def streams(self) -> bool:
        """Whether the reply comes as events."""
        return False

    @property
    def translates(self) -> bool:
        """Whether the text is to be English, whatever is spoken."""
        return False

    @property
    def scores_tokens(self) -> bool:
        """Whether the reply has its tokens and their log-probabilities."""
        return False

    @property
    def format(self) -> ResponseFormat:
        """The response format, checked by `parse`."""
        return self.response_format  # type: ignore[return-value]  # narrowed by _UNSUPPORTED

    @property
    def asked(self) -> Asked:
        """What is asked for, apart from the form of the reply."""
        return Asked(
            self.model,
            self.domain,
            self.auto,  # type: ignore[arg-type]  # narrowed by _UNSUPPORTED
            self.language,
            self.languages,
            self.prompt,
            self.translates,
            self.scores_tokens,
            self.given_words,
        )

    @property
    def tells_language(self) -> bool:
        """Whether the reply says which languages were heard, since neither request nor text does."""
        return self.asked.leaves_language_open or self.translates

    @property
    def given_words(self) -> tuple[str, ...]:
        """The keywords, as they were given."""
        return ()

    @property
    def granularities(self) -> tuple[str, ...]:
        """The times that `verbose_json` lists. Without any named, as with OpenAI, those of segments."""
        return ("segment",)

    @property
    def chosen_channel(self) -> Channel:
        """The channel, checked by `parse`."""
        return parse_channel(self.channel)

    @property
    def cut_rule(self) -> CutRule | None:
        """How the audio is cut at silences; None leaves it to the base."""
        return self.chunking_strategy.rule if isinstance(self.chunking_strategy, ServerVad) else None


class TranscriptionForm(AudioForm):
    """The fields of a transcription."""

    stream: bool = Field(default=False, description="Whether the reply comes as server-sent events.")
    timestamp_granularities: tuple[str, ...] = Field(
        default=(),
        description="`word`, `segment` or both; with `verbose_json` only.",
        json_schema_extra={"items": {"type": "string", "enum": list(GRANULARITIES)}},
    )
    include: tuple[str, ...] = Field(
        default=(),
        description="`logprobs`; with `json` only.",
        json_schema_extra={"items": {"type": "string", "enum": ["logprobs"]}, "maxItems": 1},
    )
    keywords: tuple[str, ...] = Field(
        default=(),
        description=f"Names and terms that may be said, up to {MAX_KEYWORDS}.",
        json_schema_extra={
            "items": {"type": "string", "maxLength": MAX_KEYWORD_CHARS},
            "maxItems": MAX_KEYWORDS,
        },
    )
    known_speaker_names: tuple[str, ...] = Field(default=(), description="Not supported.")
    known_speaker_references: tuple[str, ...] = Field(default=(), description="Not supported.")

    @property
    def streams(self) -> bool:
        """See AudioForm."""
        return self.stream

    @property
    def scores_tokens(self) -> bool:
        """See AudioForm."""
        return "logprobs" in self.include

    @property
    def given_words(self) -> tuple[str, ...]:
        """See AudioForm."""
        return self.keywords

    @property
    def granularities(self) -> tuple[str, ...]:
        """See AudioForm."""
        return self.timestamp_granularities or ("segment",)


class TranslationForm(AudioForm):
    """The fields of a translation. `language` is that of the audio; the text is English."""

    @property
    def translates(self) -> bool:
        """See AudioForm."""
        return True
