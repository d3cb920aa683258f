"""Measures live sessions on owsm-nano: docs/results/api-live.json and api.md.

    python -m recipes.espeak.live

A server is started as a user starts it. Clients, OpenAI's own, speak test clips into it in real time, one
or several at once. Times are from what the client sees.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openai
import soxr
import torch
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from recipes.serving import running_server
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.parser import CommandParser
from ssvd_asr.scoring import normalise, score

OUT = Path("docs/results/api-live.json")
DOMAIN = "child"
SESSIONS = (1, 16)
CLIPS = 12  # a session speaks
RATE_HZ = 24_000
BLOCK_S = 0.1  # as browsers send it
PAUSE_S = 1.5  # between clips
SILENCE_MS = 500  # that ends a turn, OpenAI's default
EVENT = "conversation.item.input_audio_transcription."


@dataclass
class Turn:
    """What one client saw of one turn. Times of time.monotonic()."""

    spoken: tuple[float, float] = (0.0, 0.0)  # when its audio began and its speech ended
    first_words: float | None = None
    completed: float | None = None
    text: str = ""
    at_once: str = ""  # by the whole turn's decoding


@dataclass
class Seen:
    """The turns of one client, by item."""

    began: float = 0.0  # when the first sample was spoken
    all_sent: bool = False
    turns: dict[str, Turn] = field(default_factory=dict)

    def of(self, item: str) -> Turn:
        return self.turns.setdefault(item, Turn())

    @property
    def is_over(self) -> bool:
        return self.all_sent and all(turn.completed is not None for turn in self.turns.values())


async def speak(connection: AsyncRealtimeConnection, waves: Sequence[np.ndarray], seen: Seen) -> None:
    """Send clips in real time, with a pause after each."""
    step = int(BLOCK_S * RATE_HZ)
    pause = np.zeros(int(PAUSE_S * RATE_HZ), np.float32)
    wave = np.concatenate([part for wave in waves for part in (wave, pause)])
    samples = (wave * 32_767).astype("<i2")
    seen.began = time.monotonic()
    for at in range(0, len(samples), step):
        due = seen.began + (at + step) / RATE_HZ  # a block is there when it has been spoken
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        data = samples[at : at + step].tobytes()
        await connection.input_audio_buffer.append(audio=base64.b64encode(data).decode())
    seen.all_sent = True


async def listen(connection: AsyncRealtimeConnection, seen: Seen) -> None:
    """Note the events until every turn is completed."""
    while not seen.is_over:
        try:
            event: Any = await asyncio.wait_for(connection.recv(), 1.0)
        except TimeoutError:
            continue
        if event.type == "input_audio_buffer.speech_started":
            seen.of(event.item_id).spoken = (seen.began + event.audio_start_ms / 1000, 0.0)
        elif event.type == "input_audio_buffer.speech_stopped":
            turn = seen.of(event.item_id)
            ended = seen.began + (event.audio_end_ms - SILENCE_MS) / 1000
            turn.spoken = (turn.spoken[0], ended)
        elif event.type == EVENT + "delta":
            turn = seen.of(event.item_id)
            turn.first_words = turn.first_words or time.monotonic()
        elif event.type == EVENT + "completed":
            turn = seen.of(event.item_id)
            turn.completed, turn.text = time.monotonic(), event.transcript
            turn.at_once = event.ssvd.get("decoded_at_once", event.transcript)
        elif event.type in ("error", EVENT + "failed"):
            raise SystemExit(f"{event.type}: {event.error}")


async def session(client: openai.AsyncOpenAI, waves: Sequence[np.ndarray]) -> Seen:
    """Speak clips in one session."""
    seen = Seen()
    async with client.realtime.connect(
        extra_query={"intent": "transcription", "model": f"owsm-nano:{DOMAIN}"}
    ) as connection:
        await asyncio.gather(speak(connection, waves, seen), listen(connection, seen))
    return seen


async def measure(url: str, clips: Sequence[tuple[np.ndarray, str]], sessions: int) -> dict[str, Any]:
    """Run sessions at once, and return their times and errors."""
    shares = [clips[number * CLIPS : (number + 1) * CLIPS] for number in range(sessions)]
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

        async def one(number: int) -> Seen:
            await asyncio.sleep(number * 0.37)  # people do not begin together
            return await session(client, [wave for wave, _ in shares[number]])

        found = await asyncio.gather(*(one(number) for number in range(sessions)))
    turns = [turn for seen in found for turn in seen.turns.values()]
    # A clip with a pause may be two turns, so a session is scored as one text.
    references = [" ".join(text for _, text in share) for share in shares]
    texts = [" ".join(turn.text for turn in seen.turns.values()) for seen in found]
    at_once = [" ".join(turn.at_once for turn in seen.turns.values()) for seen in found]
    return {
        "sessions": sessions,
        "clips": sum(map(len, shares)),
        "turns": len(turns),
        "end_to_completed_s": percentiles([(turn.completed or 0.0) - turn.spoken[1] for turn in turns]),
        "begin_to_first_words_s": percentiles(
            [turn.first_words - turn.spoken[0] for turn in turns if turn.first_words is not None]
        ),
        "first_words_before_end": statistics.fmean(
            turn.first_words is not None and turn.first_words < turn.spoken[1] for turn in turns
        ),
        "wer": score(references, texts).wer,
        "wer_at_once": score(references, at_once).wer,
        "turns_told_otherwise": sum(normalise(turn.text) != normalise(turn.at_once) for turn in turns),
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile."""
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 3), "p95": round(cuts[18], 3)}


PAGE = """# The API

Written by `python -m recipes.espeak.live` with api-live.json
({processor}, torch {torch}, openai {openai}).

## Live sessions

A server of owsm-nano as `ssvd serve` starts it. OpenAI's own client speaks clips of child-test in real time,
in blocks of 0.1 s and with {pause_s:g} s of silence after each, in the domain `{domain}`. A turn ends after
{silence_ms} ms of silence, which the first times include. Median and 95th percentile of what the client
sees, in seconds. `early`: the share of turns whose first words come while they are spoken. WER in %: of the
transcripts, and of each whole turn decoded at once; `otherwise`: turns in which the two have other words.

| sessions | clips | turns | speech to completed | to first words | early | WER | at once | otherwise |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def page(told: dict[str, Any]) -> str:
    """Return the page of these results."""
    rows = [
        f"| {row['sessions']} | {row['clips']} | {row['turns']} | {_pair(row['end_to_completed_s'])} "
        f"| {_pair(row['begin_to_first_words_s'])} | {row['first_words_before_end']:.0%} "
        f"| {100 * row['wer']:.1f} | {100 * row['wer_at_once']:.1f} | {row['turns_told_otherwise']} |"
        for row in told["rows"]
    ]
    return PAGE.format(**{**told, "rows": "\n".join(rows)})


def _pair(times: dict[str, float]) -> str:
    return f"{times['p50']:.2f}, {times['p95']:.2f}"


def main() -> int:
    """Measure, and write the results."""
    parser: argparse.ArgumentParser = CommandParser(prog="python -m recipes.espeak.live")
    parser.add_argument("--data", type=Path, default=Path("data/espeak"), help="corpora of recipes.espeak")
    asked = parser.parse_args()
    folder = asked.data / f"{DOMAIN}-test"
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[: CLIPS * max(SESSIONS)]
    clips = [
        (soxr.resample(read_audio(folder / entry["audio"]), SAMPLE_RATE, RATE_HZ), entry["text"])
        for entry in map(json.loads, lines)
    ]
    with running_server(quiet=True) as url:
        rows = [asyncio.run(measure(url, clips, count)) for count in SESSIONS]
    machine = {"processor": platform.machine(), "torch": torch.__version__, "openai": openai.__version__}
    told = {"domain": DOMAIN, "silence_ms": SILENCE_MS, "pause_s": PAUSE_S, **machine, "rows": rows}
    OUT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    OUT.with_name("api.md").write_text(page(told), encoding="utf-8")
    print(page(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
