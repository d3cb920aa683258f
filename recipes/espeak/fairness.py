"""Measures how long a short clip waits behind two long uploads: docs/results/operations-fairness.json.

    python -m recipes.espeak.fairness --before FOLDER

FOLDER holds the source at an earlier commit (`git archive COMMIT | tar -x -C FOLDER`), whose server is
measured in the same way, in turns with this one's. Each server is started as a user starts it. Two clients
upload ten minutes of joined test clips as MP3, and after a moment a third uploads four seconds as WAV. Times
are from what the clients see.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
import torch

from adapters_store.packaged import PACKAGED
from recipes.serving import running_server
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.parser import CommandParser

OUT = Path("docs/results/operations-fairness.json")
LONG_S = 595.0
SHORT_S = 4.0
UPLOADS = 2
HEAD_START_S = 1.0  # for the long uploads to be at the decoders
TIMEOUT_S = 600.0


def main() -> int:
    """Measure and write the figures."""
    arguments = _parser().parse_args()
    servers = {"now": Path.cwd(), **({"before": arguments.before} if arguments.before else {})}
    long, short = _recording(LONG_S, "MP3"), _recording(SHORT_S, "WAV")
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    for _ in range(arguments.rounds):
        for name, folder in servers.items():
            with running_server(folder=folder, quiet=True, SSVD_QUEUE_MAX_AUDIO_S="3600") as url:
                rounds[name].append(asyncio.run(_round(url, long, short)))
                print(name, rounds[name][-1], flush=True)
    OUT.write_text(json.dumps(_told(rounds, len(long)), indent=1) + "\n", encoding="utf-8")
    return 0


def _recording(seconds: float, kind: str) -> bytes:
    """Return joined test clips of the built-in domains as a file."""
    clips = [read_audio(path) for path in sorted(PACKAGED.glob("*/samples/*-test-*.opus"))]
    joined = np.concatenate(clips)
    wave = np.resize(joined, int(seconds * SAMPLE_RATE))
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, format=kind)
    return file.getvalue()


async def _round(url: str, long: bytes, short: bytes) -> dict[str, float]:
    """Return what clients waited, in seconds: for the clip alone, behind the uploads, and for these."""
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
        await _waited(client, short)  # the first request also warms up
        alone = await _waited(client, short)
        uploads = [asyncio.create_task(_waited(client, long)) for _ in range(UPLOADS)]
        await asyncio.sleep(HEAD_START_S)
        behind = await _waited(client, short)
        return {
            "clip_alone_s": alone,
            "clip_behind_uploads_s": behind,
            "last_upload_s": max(await asyncio.gather(*uploads)),
        }


async def _waited(client: httpx.AsyncClient, file: bytes) -> float:
    began = time.monotonic()
    reply = await client.post("/v1/audio/transcriptions", files={"file": ("recording", file)})
    reply.raise_for_status()
    return time.monotonic() - began


def _told(rounds: dict[str, list[dict[str, float]]], long_bytes: int) -> dict[str, Any]:
    return {
        "command": "python -m recipes.espeak.fairness --before FOLDER",
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "base": "owsm-nano",
        "uploads": UPLOADS,
        "upload_s": LONG_S,
        "upload_bytes": long_bytes,
        "clip_s": SHORT_S,
        "median": {
            server: {
                name: round(statistics.median(each[name] for each in measured), 2) for name in measured[0]
            }
            for server, measured in rounds.items()
        },
        "rounds": {
            server: [{name: round(value, 2) for name, value in each.items()} for each in measured]
            for server, measured in rounds.items()
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m recipes.espeak.fairness", description=__doc__)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="the source at an earlier commit")
    parser.add_argument("--rounds", type=int, default=3, help="of each server; default %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
