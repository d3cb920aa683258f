"""Measures live sessions on owsm-nano: docs/results/api-live.json, told by docs/results/api.md.

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
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openai
import soxr
import torch
from openai.resources.realtime.realtime import AsyncRealtimeConnection

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
class Spoken:
    """What one client saw of its clips. Times of time.monotonic()."""

    began: list[float] = field(default_factory=list)  # each clip's first block was sent
    ended: list[float] = field(default_factory=list)  # its last
    texts: list[str] = field(default_factory=list)
    completed: list[float] = field(default_factory=list)
    first_delta: dict[str, float] = field(default_factory=dict)  # by item
    items: list[str] = field(default_factory=list)
    at_once: list[str] = field(default_factory=list)  # the text of the whole turn's decoding


@contextmanager
def server() -> Iterator[str]:
    """A server of owsm-nano on a free port; yields its address."""
    command = [sys.executable, "-m", "ssvd_asr.cli", "serve", "--no-ui", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.split()[-1]
        finally:
            process.terminate()


async def speak(connection: AsyncRealtimeConnection, waves: Sequence[np.ndarray], seen: Spoken) -> None:
    """Send clips in real time, with a pause after each."""
    step = int(BLOCK_S * RATE_HZ)
    due = time.monotonic()
    for wave in waves:
        pause = np.zeros(int(PAUSE_S * RATE_HZ), np.int16)
        samples = np.concatenate([(wave * 32_767).astype(np.int16), pause])
        seen.began.append(due)
        seen.ended.append(due + len(wave) / RATE_HZ)
        for at in range(0, len(samples), step):
            block = samples[at : at + step]
            due += len(block) / RATE_HZ
            await asyncio.sleep(max(0.0, due - time.monotonic()))  # a block is there when it has been spoken
            await connection.input_audio_buffer.append(audio=base64.b64encode(block.tobytes()).decode())


async def listen(connection: AsyncRealtimeConnection, turns: int, seen: Spoken) -> None:
    """Note the events of so many turns."""
    while len(seen.texts) < turns:
        event: Any = await connection.recv()
        if event.type == EVENT + "delta":
            seen.first_delta.setdefault(event.item_id, time.monotonic())
        elif event.type == EVENT + "completed":
            seen.completed.append(time.monotonic())
            seen.items.append(event.item_id)
            seen.texts.append(event.transcript)
            seen.at_once.append(event.ssvd.get("decoded_at_once", event.transcript))
        elif event.type in ("error", EVENT + "failed"):
            raise SystemExit(f"{event.type}: {event.error}")


async def session(client: openai.AsyncOpenAI, waves: Sequence[np.ndarray]) -> Spoken:
    """Speak clips in one session."""
    seen = Spoken()
    async with client.realtime.connect(
        extra_query={"intent": "transcription", "model": f"owsm-nano:{DOMAIN}"}
    ) as connection:
        await asyncio.gather(speak(connection, waves, seen), listen(connection, len(waves), seen))
    return seen


async def measure(url: str, clips: Sequence[tuple[np.ndarray, str]], sessions: int) -> dict[str, Any]:
    """Run sessions at once, and return their times and errors."""
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

        async def one(number: int) -> Spoken:
            await asyncio.sleep(number * 0.37)  # people do not begin together
            own = [clips[(number * CLIPS + place) % len(clips)][0] for place in range(CLIPS)]
            return await session(client, own)

        found = await asyncio.gather(*(one(number) for number in range(sessions)))
    references = [
        clips[(number * CLIPS + place) % len(clips)][1]
        for number in range(sessions)
        for place in range(CLIPS)
    ]
    texts = [text for seen in found for text in seen.texts]
    at_once = [text for seen in found for text in seen.at_once]
    ends = [done - end for seen in found for done, end in zip(seen.completed, seen.ended, strict=True)]
    firsts = [
        seen.first_delta[item] - began
        for seen in found
        for item, began in zip(seen.items, seen.began, strict=True)
        if item in seen.first_delta
    ]
    early = [
        end - seen.first_delta[item]
        for seen in found
        for item, end in zip(seen.items, seen.ended, strict=True)
        if item in seen.first_delta
    ]
    return {
        "sessions": sessions,
        "turns": len(texts),
        "end_to_completed_s": percentiles(ends),
        "begin_to_first_delta_s": percentiles(firsts),
        "first_delta_before_end": sum(each > 0 for each in early) / len(early),
        "wer": score(references, texts).wer,
        "wer_at_once": score(references, at_once).wer,
        "turns_told_otherwise": sum(
            normalise(one) != normalise(other) for one, other in zip(texts, at_once, strict=True)
        ),
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile."""
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    return {"p50": round(cuts[9], 3), "p95": round(cuts[18], 3)}


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
    with server() as url:
        rows = [asyncio.run(measure(url, clips, count)) for count in SESSIONS]
    machine = {"processor": platform.machine(), "torch": torch.__version__, "openai": openai.__version__}
    told = {"domain": DOMAIN, "silence_ms": SILENCE_MS, "pause_s": PAUSE_S, **machine, "rows": rows}
    OUT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
