"""Decoding of turns: each second is charged for once, when a request for it is accepted."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np

from server.engine.messages import Reply, Request
from server.keys.quotas import QuotaError
from server.realtime.decoding import Turn, TurnDecoder
from ssvd_asr.audio.read import SAMPLE_RATE
from tests.server.fakes import TIMEOUT_S


def test_what_early_text_would_have_cost_is_not_charged_before_it_is_accepted() -> None:
    asked, events = [], []
    early, go_on = threading.Event(), threading.Event()

    def submit(_request: Request, seconds: int) -> Future[Reply]:
        asked.append(seconds)
        if not early.is_set():  # the quota is looked at while the client ends the turn
            early.set()
            go_on.wait(TIMEOUT_S)
        raise QuotaError("none left", code="quota_exceeded", retry_after_s=1)

    async def send(event: dict[str, Any]) -> None:
        events.append(event["type"].rpartition(".")[2])

    async def a_turn() -> None:
        decoder = TurnDecoder(send, submit, lambda *_: {}, lambda error: {"message": str(error)})
        turn, request = Turn(), Request(np.zeros(3 * SAMPLE_RATE, np.float32))
        decoder.begin_early(turn, request)
        await asyncio.to_thread(early.wait, TIMEOUT_S)
        turn.stop_early()
        await decoder.begin(turn, request, lambda *_: None)
        await asyncio.sleep(0.05)  # so that a turn that does not wait for the early text is decoded
        go_on.set()
        await decoder.finish()

    asyncio.run(a_turn())
    assert asked == [3, 3]
    assert events == ["failed"]
