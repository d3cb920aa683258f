"""Transcribing of many recordings: what is to do, and doing it one after the other through the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from server.auto.wish import wish_of
from server.configuration.limits import with_settings_named
from server.engine.each_channel import submit_recording
from server.engine.engine import Engine
from server.engine.messages import Reply, Request
from server.languages import requested_language
from server.recordings import Recording
from server.transcript_files import TranscriptFormat, entry, written
from server.transcript_record import TranscriptRecord
from ssvd_asr.audio.limits import AudioLimits
from ssvd_asr.audio.read import Channel
from ssvd_asr.errors import AudioLimitError, SsvdError
from ssvd_asr.progress import progress_bar

Result = dict[str, Any]
# Takes each result as it is there; `shown` is what is printed for people.
Show = Callable[["tqdm[Any]", Result], None]


@dataclass(frozen=True)
class Plan:
    """What is transcribed, how, and where to.

    Attributes:
        done: recordings whose transcripts an earlier run has written.
        places: where each recording's transcript goes; empty without a folder.
        record: of that folder.
        domain: pinned to one version, "auto" to have one chosen, or None for the base.
        language: as asked for; AUTO is left to the base or, where it cannot, to `default_language`.
    """

    to_do: tuple[Recording, ...]
    done: Collection[Recording]
    places: Mapping[Recording, Path]
    record: TranscriptRecord | None
    transcript_format: TranscriptFormat
    domain: str | None
    language: str
    default_language: str
    channel: Channel
    keywords: tuple[str, ...] = ()


@dataclass
class Transcribing:
    """The engine at work on a plan."""

    engine: Engine
    plan: Plan
    limits: AudioLimits

    def results(self, show: Show, *, progress: bool) -> Iterator[tuple[Recording, Result]]:
        """Yield each recording with its entry, and hand it to `show` as soon as it is there.

        An entry is a text with its provenance, or an error. Raises OutputError if a transcript cannot be
        written: the next one could not be either.
        """
        if self.plan.record is not None and self.plan.done:
            self.plan.record.check_base(self.engine.recogniser.digest)
        done, audio_s, began = len(self.plan.done), 0.0, time.monotonic()
        with progress_bar(
            total=len(self.plan.to_do) + done,
            initial=done,
            desc="transcribing",
            unit="recordings",
            disable=not progress,
        ) as bar:
            for recording in self.plan.to_do:
                result = self._transcribe(recording)
                show(bar, result)
                audio_s += result.get("duration_s", 0.0)
                if audio_s:
                    factor = (time.monotonic() - began) / audio_s
                    bar.set_postfix_str(f"real-time factor {factor:.3f}", refresh=False)
                bar.update()
                yield recording, result

    def _transcribe(self, recording: Recording) -> Result:
        plan = self.plan
        try:
            language, warnings = requested_language(
                plan.language, plan.default_language, self.engine.recogniser
            )
            read = recording.read(self.limits, plan.channel)
            wish = wish_of(plan.domain)
            request = Request(
                wave=read.waves[0],
                domain=plan.domain if wish is None else None,
                auto=wish,
                language=language,
                timestamps=plan.transcript_format != "txt",
                warnings=warnings,
                keywords=plan.keywords,
            )
            reply = submit_recording(self.engine, read, request).result()
        except (SsvdError, OSError) as error:
            told = with_settings_named(str(error)) if isinstance(error, AudioLimitError) else str(error)
            reason = told.removeprefix(f"{recording.name}: ")  # the name stands before it already
            return {"file": recording.name, "name": recording.name, "error": reason}
        return entry(recording, reply) | {"shown": self._put(recording, reply), "name": recording.name}

    def _put(self, recording: Recording, reply: Reply) -> str:
        """Write a transcript to its place and return the place, or return the transcript itself."""
        text = written(recording, reply, self.plan.transcript_format)
        place = self.plan.places.get(recording)
        if place is None or self.plan.record is None:
            return text.rstrip("\n")
        self.plan.record.write(recording, place, text, reply.provenance.base_digest)
        return str(place)
