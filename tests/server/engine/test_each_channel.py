"""Channels transcribed apart: one version, one reply in time order, and one end for all."""

from __future__ import annotations

from concurrent.futures import CancelledError, wait
from dataclasses import replace

import numpy as np
import pytest

from adapters_store.store import AdapterStore
from server.engine.each_channel import merged, submit_recording
from server.engine.engine import Engine
from server.engine.messages import PieceDecoding, Provenance, Reply, Request, TextSegment
from server.errors import QueueFullError
from ssvd_asr.audio.read import Recording
from tests.server.fakes import BASE, DIGEST, TIMEOUT_S, FakeRecogniser, wait_until, write_adapter
from tests.speechlike import babble


def recording(*waves: np.ndarray) -> Recording:
    return Recording(waves, tuple(() for _ in waves), apart=True)


def reply(*starts_and_texts: tuple[float, str], warnings: tuple[str, ...] = ()) -> Reply:
    segments = tuple(TextSegment(start, start + 0.5, text, -0.5) for start, text in starts_and_texts)
    text = " ".join(text for _, text in starts_and_texts)
    piece = PieceDecoding(0.0, 9.0, "greedy", 0.0)
    return Reply(text, segments, "eng", 9.0, Provenance(BASE, DIGEST), (piece,), warnings)


def test_channels_are_merged_in_the_order_of_time_with_a_line_for_each_turn() -> None:
    whole = merged(
        [reply((0.0, "how"), (1.0, "are you"), (5.0, "and now")), reply((2.0, "fine"), (6.0, "too"))]
    )
    assert whole.text == "how are you\nfine\nand now\ntoo"
    assert whole.channels == ("how are you and now", "fine too")
    assert [segment.channel for segment in whole.segments] == [0, 0, 1, 0, 1]
    assert [piece.channel for piece in whole.decoding] == [0, 1]
    assert whole.duration_s == 9.0


def test_a_warning_says_its_channel_unless_all_have_it() -> None:
    whole = merged([reply(warnings=("a", "b")), reply(warnings=("a", "c"))])
    assert whole.warnings == ("a", "Channel 0: b", "Channel 1: c")


def test_a_channel_without_speech_has_an_empty_text(engine: Engine) -> None:
    waves = recording(np.zeros(32_000, np.float32), babble(2.0))
    whole = submit_recording(engine, waves, Request(waves.waves[0])).result(TIMEOUT_S)
    assert whole.channels == ("", "base words")
    assert whole.text == "base words"
    assert {segment.channel for segment in whole.segments} == {1}


def test_all_channels_are_decoded_by_one_version(
    engine: Engine, store: AdapterStore, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = engine.submit

    def publish_after(request: Request):
        future = submit(request)
        if request.domain is not None and store.resolve("child").version == 2:
            store.publish("child", write_adapter(tmp_path / "child3", 9))
        return future

    monkeypatch.setattr(engine, "submit", publish_after)
    waves = recording(babble(2.0), babble(2.0, seed=4))
    whole = submit_recording(engine, waves, Request(waves.waves[0], domain="child")).result(TIMEOUT_S)
    assert whole.channels == ("child words of version 2",) * 2
    assert whole.provenance.adapter_version == 2
    assert store.resolve("child").version == 3


def test_a_channel_that_fails_fails_the_request(engine: Engine, recogniser: FakeRecogniser) -> None:
    recogniser.fail = RuntimeError("the device is on fire")
    waves = recording(babble(2.0), babble(2.0, seed=4))
    with pytest.raises(RuntimeError, match="on fire"):
        submit_recording(engine, waves, Request(waves.waves[0])).result(TIMEOUT_S)
    wait_until(lambda: engine.idle)


@pytest.mark.usefixtures("busy")
def test_cancelling_cancels_every_channel(engine: Engine) -> None:
    waves = recording(babble(2.0), babble(2.0, seed=4))
    future = submit_recording(engine, waves, Request(waves.waves[0], domain="child"))
    assert engine.waiting_s > 0
    assert future.cancel()
    assert wait([future], TIMEOUT_S).done
    with pytest.raises(CancelledError):
        future.result()
    assert engine.waiting_s == 0


@pytest.mark.usefixtures("busy")
def test_channels_that_do_not_all_fit_the_queue_leave_none_in_it(engine: Engine) -> None:
    before = engine.waiting_s
    waves = recording(*[np.tile(babble(4.0), 4)] * 3)  # 48 s, the queue takes 30 s
    with pytest.raises(QueueFullError):
        submit_recording(engine, waves, Request(waves.waves[0], domain="child"))
    assert engine.waiting_s == before


def test_one_wave_is_one_request_with_the_warnings_of_its_reading(engine: Engine, request_: Request) -> None:
    read = replace(recording(request_.wave), warnings=(("It hums",),), apart=False)
    whole = submit_recording(engine, read, request_).result(TIMEOUT_S)
    assert whole.warnings == ("It hums",)
    assert whole.channels == ()
    assert [segment.channel for segment in whole.segments] == [None]
