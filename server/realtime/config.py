"""Settings of a session, as its client changes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from server.realtime.events import LOGPROBS, Format, ServerVad, SessionChange, Transcription
from server.realtime.turns import TurnRule


@dataclass(frozen=True)
class SessionConfig:
    """What holds now. turn_detection: None leaves turns to the client."""

    format: Format = field(default_factory=Format)
    transcription: Transcription = field(default_factory=Transcription)
    turn_detection: ServerVad | None = field(default_factory=lambda: ServerVad(type="server_vad"))
    include: tuple[str, ...] = ()

    @property
    def scores_tokens(self) -> bool:
        """Whether completed turns have log-probabilities."""
        return LOGPROBS in self.include

    @property
    def turn_rule(self) -> TurnRule | None:
        """When turns begin and end."""
        vad = self.turn_detection
        if vad is None:
            return None
        return TurnRule(vad.threshold, vad.prefix_padding_ms / 1000, vad.silence_duration_ms / 1000)

    def changed(self, wanted: SessionChange) -> SessionConfig:
        """Return the settings with the members that an update names. Null gives the default."""
        config = self
        if "include" in wanted.model_fields_set:
            config = replace(config, include=wanted.include or ())
        audio = wanted.audio.input if wanted.audio is not None else None
        if audio is None:
            return config
        given = audio.model_fields_set
        if "format" in given:
            config = replace(config, format=audio.format or Format())
        if "transcription" in given:
            # Members that are left out stay, so that a client may change the language alone.
            told = {} if audio.transcription is None else audio.transcription.model_dump(exclude_unset=True)
            known = self.transcription.model_dump() if told else {}
            config = replace(config, transcription=Transcription(**{**known, **told}))
        if "turn_detection" in given:
            config = replace(config, turn_detection=audio.turn_detection)
        return config

    def as_json(self, session_id: str) -> dict[str, Any]:
        """Return the session in OpenAI's shape."""
        rate = {"rate": 24_000} if self.format.type == "audio/pcm" else {}
        turns = self.turn_detection
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": self.format.type, **rate},
                    "noise_reduction": None,
                    "transcription": self.transcription.model_dump(exclude_none=True),
                    "turn_detection": None if turns is None else turns.model_dump(exclude_none=True),
                }
            },
            "include": list(self.include),
        }
