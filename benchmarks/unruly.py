"""Clients of a soak that are not ordinary requests: hostile files, and live sessions."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import httpx
import numpy as np
import soundfile
import soxr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks.traffic import BUSY, LOST, REFUSED, TRANSCRIBED, URL, Answer, code_of
from tests.fire.hostile import Refused
from tests.fire.hostile_audio import AUDIO
from tests.fire.hostile_forms import FORMS

RATE_HZ, BLOCK_S, PAUSE_S = 24_000, 0.1, 1.0
CLIPS = 4  # that one session speaks
# Refused before its length is looked at by a base that knows no previous texts, as owsm-nano.
OF_OTHER_BASES = ("a prompt over the limit",)
DONE = "conversation.item.input_audio_transcription."


class Hostile:
    """The hostile files and forms of the tests, each made once."""

    def __init__(self) -> None:
        self.sent = 0
        self._requests: list[tuple[str, dict[str, Any], int, str]] = []  # name, request, status, code
        for name, case in AUDIO.items():
            request = {"method": "POST", "url": URL, "files": {"file": ("a.wav", case.make())}}
            self._requests.append((name, request, *_expected(case.answer)))
        for name, form in FORMS.items():
            if ".." not in form.path and name not in OF_OTHER_BASES:  # httpx would take the dots out
                request = {"method": form.method, "url": form.path, "content": form.make()}
                request["headers"] = dict(form.headers)
                self._requests.append((name, request, *_expected(form.answer)))

    async def send(self, client: httpx.AsyncClient, random: Random, faults: list[str]) -> None:
        """Send one of them, and add to `faults` what is answered wrongly."""
        name, request, status, code = random.choice(self._requests)
        self.sent += 1
        try:
            response = await client.request(**request)
        except httpx.HTTPError as error:
            faults.append(f"{name}: {type(error).__name__}")
            return
        if response.status_code in BUSY:
            return
        found = "" if response.status_code == 200 else code_of(response)
        if (response.status_code, found) != (status, code):
            faults.append(f"{name}: {response.status_code} {found}, not {status} {code}")


def _expected(answer: object) -> tuple[int, str]:
    return (answer.status, answer.code) if isinstance(answer, Refused) else (200, "")


async def speak(
    url: str,
    model: str,
    clips: Sequence[bytes],
    until_s: float,
    told: Callable[[Answer], None],
    faults: list[str],
) -> None:
    """Hold one live session after the other until then. Each speaks some clips in real time.

    Every other one breaks off in the middle of a clip.
    """
    random = Random(model)
    waves = [_pcm(clip) for clip in clips]
    number = 0
    while time.monotonic() < until_s:
        number += 1
        try:
            await _session(url, model, random.sample(waves, CLIPS), until_s, told, leaves=number % 2 == 0)
        except (OSError, ConnectionClosed, TimeoutError) as error:
            faults.append(f"live session: {error!r}")


async def _session(
    url: str,
    model: str,
    waves: Sequence[bytes],
    until_s: float,
    told: Callable[[Answer], None],
    *,
    leaves: bool,
) -> None:
    address = f"ws{url.removeprefix('http')}/v1/realtime?intent=transcription&model={model}"
    began_s = time.monotonic()  # the domain is looked up for the session
    domain = model.partition(":")[2]
    async with connect(address, max_size=None, proxy=None) as socket:
        listening = asyncio.create_task(_listen(socket, domain, began_s, told))
        for wave in waves:
            if time.monotonic() > until_s:
                break
            await _say(socket, wave[: len(wave) // 2] if leaves else wave + bytes(int(2 * PAUSE_S * RATE_HZ)))
            if leaves:
                socket.transport.abort()
                break
        if not leaves:
            await asyncio.sleep(PAUSE_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _say(socket: ClientConnection, wave: bytes) -> None:
    step = 2 * int(BLOCK_S * RATE_HZ)
    for at in range(0, len(wave), step):
        audio = base64.b64encode(wave[at : at + step]).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        await asyncio.sleep(BLOCK_S)


async def _listen(
    socket: ClientConnection, domain: str, began_s: float, told: Callable[[Answer], None]
) -> None:
    """Tell what becomes of each turn."""
    async for message in socket:
        event = json.loads(message)
        if event["type"] == f"{DONE}completed":
            made_by = event["ssvd"]
            told(
                Answer(
                    began_s, time.monotonic(), TRANSCRIBED, domain,
                    digest=made_by["adapter_sha256"], named=made_by["domain"],
                )
            )  # fmt: skip
        elif event["type"] == f"{DONE}failed":
            code = event["error"]["code"]
            busy = code in ("queue_full", "bank_full", "not_loaded", "domain_not_found")
            told(Answer(began_s, time.monotonic(), REFUSED if busy else LOST, domain, code))


def _pcm(clip: bytes) -> bytes:
    """Return a clip as the audio of a session."""
    wave, rate_hz = soundfile.read(io.BytesIO(clip), dtype="float32")
    samples = soxr.resample(wave, rate_hz, RATE_HZ)
    return bytes((np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())
