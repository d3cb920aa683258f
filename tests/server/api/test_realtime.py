"""Live sessions, judged by the realtime connection of the `openai` client and its types in strict mode."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import openai
import pytest
import soxr
from openai.resources.realtime.realtime import RealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from ssvd_asr.errors import SsvdError
from tests.server.fakes import BASE, TIMEOUT_S, FakeRecogniser, wait_until
from tests.server.live import listening
from tests.speechlike import babble

# The `openai` client opens its socket in a way that the newest `websockets` warns of.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")

EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
TRANSCRIPTION = "conversation.item.input_audio_transcription"
VAD = {"type": "server_vad", "silence_duration_ms": 300}
SILENCE = np.zeros(16_000, np.float32)
Open = Callable[..., AbstractContextManager[RealtimeConnection]]


@pytest.fixture
def live_settings(settings: ServerSettings) -> ServerSettings:
    return settings.model_copy(
        update={
            "realtime_max_sessions": 2, "realtime_max_turn_s": 8.0, "realtime_step_s": 0.4,
            "model_aliases": f"whisper-1={BASE}:child",
        }
    )  # fmt: skip


@pytest.fixture
def url(live_settings: ServerSettings, engine: Engine) -> Iterator[str]:
    with listening(create_app(live_settings, engine)) as url:
        yield url


@pytest.fixture
def open_session(url: str) -> Iterator[Open]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield lambda **query: client.realtime.connect(extra_query={"intent": "transcription", **query})


def event_of(session: RealtimeConnection) -> Any:
    """The next event, of its type to the letter."""
    message = session.recv_bytes()
    EVENT.validate_json(message, strict=True)
    return session.parse_event(message)


def events_until(session: RealtimeConnection, kind: str) -> list[Any]:
    found: list[Any] = []
    until = time.monotonic() + TIMEOUT_S
    while not found or found[-1].type != kind:
        assert time.monotonic() < until, [each.type for each in found]
        found.append(event_of(session))
    return found


def update(session: RealtimeConnection, **members: Any) -> Any:
    session.session.update(session={"type": "transcription", "audio": {"input": members}})  # type: ignore[typeddict-item]
    return event_of(session)


def say(session: RealtimeConnection, wave: np.ndarray, block_s: float = 0.1) -> None:
    """Send audio at 16 kHz as 24 kHz PCM in blocks."""
    data = (soxr.resample(wave, 16_000, 24_000) * 32_767).astype("<i2").tobytes()
    step = int(block_s * 24_000) * 2
    for at in range(0, len(data), step):
        session.input_audio_buffer.append(audio=base64.b64encode(data[at : at + step]).decode())


def test_a_session_begins_with_its_settings_and_keeps_what_an_update_leaves_out(open_session: Open) -> None:
    with open_session() as session:
        created = event_of(session)
        assert created.type == "session.created"
        assert created.session.audio.input.turn_detection.type == "server_vad"
        updated = update(session, transcription={"model": BASE, "language": "en"}, turn_detection=None)
        assert updated.type == "session.updated"
        assert updated.session.audio.input.turn_detection is None
        again = update(session, transcription={"language": "nl"})
        assert again.session.audio.input.transcription.model == BASE
        assert again.session.audio.input.transcription.language == "nl"


def test_a_turn_that_the_server_finds_goes_through_all_its_events(open_session: Open) -> None:
    with open_session() as session:
        update(session, transcription={"model": f"{BASE}:child"}, turn_detection=VAD)
        event_of(session)
        say(session, np.concatenate([SILENCE, babble(2.0), SILENCE]))
        found = events_until(session, f"{TRANSCRIPTION}.completed")
        kinds = list(dict.fromkeys(each.type for each in found if each.type != f"{TRANSCRIPTION}.delta"))
        assert kinds == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            f"{TRANSCRIPTION}.completed",
        ]
        started, done = found[0], found[-1]
        assert 500 < started.audio_start_ms < 1100
        assert done.transcript == "child words of version 2"
        assert done.ssvd["domain"] == "child"
        assert done.usage.seconds == pytest.approx(2.3, abs=0.5)
        ids = {each.item_id for each in found if hasattr(each, "item_id")}
        assert ids == {started.item_id}
        deltas = [each.delta for each in found if each.type == f"{TRANSCRIPTION}.delta"]
        assert "".join(deltas) == done.transcript
        assert len({each.event_id for each in found}) == len(found)


def test_text_comes_while_one_speaks(open_session: Open) -> None:
    with open_session() as session:
        event_of(session)
        update(session, turn_detection={**VAD, "silence_duration_ms": 2000})
        say(session, babble(3.0))  # and no silence follows
        found = events_until(session, f"{TRANSCRIPTION}.delta")
        assert found[-1].delta == "base"  # its last word may be cut in two


def test_the_client_may_end_turns_itself(open_session: Open) -> None:
    with open_session() as session:
        event_of(session)
        update(session, transcription={"model": "whisper-1"}, turn_detection=None)
        for previous in (None, "first"):
            say(session, babble(1.0))
            session.input_audio_buffer.commit()
            found = events_until(session, f"{TRANSCRIPTION}.completed")
            committed = next(each for each in found if each.type == "input_audio_buffer.committed")
            assert (committed.previous_item_id is None) == (previous is None)
            assert found[-1].transcript == "child words of version 2"
            assert found[-1].usage.seconds == pytest.approx(1.0, abs=0.01)


def test_what_is_cleared_is_not_transcribed(open_session: Open, recogniser: FakeRecogniser) -> None:
    with open_session() as session:
        event_of(session)
        update(session, turn_detection=None)
        say(session, babble(0.3))
        session.input_audio_buffer.clear()
        assert events_until(session, "input_audio_buffer.cleared")
        session.input_audio_buffer.commit()
        error = events_until(session, "error")[-1].error
        assert error.code == "input_audio_buffer_commit_empty"
    assert recogniser.pieces == []


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_telephone_audio_is_understood(open_session: Open, kind: str) -> None:
    import io

    import soundfile

    out = io.BytesIO()
    subtype = {"audio/pcmu": "ULAW", "audio/pcma": "ALAW"}[kind]
    soundfile.write(out, soxr.resample(babble(1.0), 16_000, 8000), 8000, format="RAW", subtype=subtype)
    with open_session() as session:
        event_of(session)
        update(session, format={"type": kind}, turn_detection=None)
        session.input_audio_buffer.append(audio=base64.b64encode(out.getvalue()).decode())
        session.input_audio_buffer.commit()
        done = events_until(session, f"{TRANSCRIPTION}.completed")[-1]
        assert done.usage.seconds == pytest.approx(1.0, abs=0.01)
        assert done.transcript == "base words"


def test_log_probabilities_come_if_they_are_asked_for(open_session: Open) -> None:
    with open_session(model=f"{BASE}:scottish") as session:
        event_of(session)
        session.session.update(
            session={"type": "transcription", "include": ["item.input_audio_transcription.logprobs"]}
        )
        event_of(session)
        say(session, np.concatenate([babble(1.0), SILENCE]))
        done = events_until(session, f"{TRANSCRIPTION}.completed")[-1]
        assert (
            "".join(each.token for each in done.logprobs) == done.transcript == "scottish words of version 1"
        )


def test_auto_chooses_once_for_a_session(open_session: Open, recogniser: FakeRecogniser) -> None:
    recogniser.finds = {None: -5.0, "child": -1.0, "scottish": -9.0}
    with open_session(model=f"{BASE}:auto") as session:
        event_of(session)
        for turn in range(2):
            say(session, np.concatenate([babble(1.0), SILENCE]))
            done = events_until(session, f"{TRANSCRIPTION}.completed")[-1]
            assert done.ssvd["domain"] == "child"
            assert ("auto" in done.ssvd) == (turn == 0)


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ("no json", "type"),
        ({"type": "response.create"}, "type"),
        ({"type": "input_audio_buffer.append"}, "audio"),
        ({"type": "input_audio_buffer.append", "audio": "?"}, "audio"),
        ({"type": "input_audio_buffer.commit", "extra": 1}, "extra"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        *(
            (
                {"type": "session.update", "session": {"type": "transcription", "audio": {"input": members}}},
                name,
            )
            for members, name in (
                ({"turn_detection": {"type": "semantic_vad"}}, "session.audio.input.turn_detection.type"),
                ({"noise_reduction": {"type": "near_field"}}, "session.audio.input.noise_reduction"),
                ({"format": {"type": "audio/pcm", "rate": 16000}}, "session.audio.input.format.rate"),
                ({"format": {"type": "audio/pcmu", "rate": 24000}}, "session.audio.input.format"),
                ({"transcription": {"model": "another"}}, "model"),
                ({"transcription": {"model": f"{BASE}:nobody"}}, "domain"),
                ({"transcription": {"model": f"{BASE}:child*9"}}, "domain"),
                ({"transcription": {"language": "klingon"}}, "language"),
                ({"transcription": {"keywords": ["C#"]}}, "keywords"),
                ({"transcription": {"delay": "low"}}, "session.audio.input.transcription.delay"),
                (
                    {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}},
                    "session.audio.input.turn_detection.idle_timeout_ms",
                ),
            )
        ),
    ],
)
def test_what_is_not_understood_is_told_and_the_session_goes_on(url: str, event: Any, param: str) -> None:
    with connect(f"ws{url.removeprefix('http')}/v1/realtime?intent=transcription") as socket:
        created = json.loads(socket.recv(TIMEOUT_S))
        told = {"event_id": "mine", **event} if isinstance(event, dict) else event
        socket.send(told if isinstance(told, str) else json.dumps(told))
        answer = json.loads(socket.recv(TIMEOUT_S))
        EVENT.validate_python(answer, strict=True)
        assert answer["type"] == "error", answer
        assert answer["error"]["param"] == param
        assert answer["error"]["event_id"] == ("mine" if isinstance(event, dict) else None)
        socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
        assert json.loads(socket.recv(TIMEOUT_S))["type"] == "input_audio_buffer.cleared"
        assert created["session"]["type"] == "transcription"


@pytest.mark.parametrize(
    "members",
    [
        {"format": {"type": "audio/pcmu"}, "transcription": {"model": f"{BASE}:child"}},
        {"turn_detection": VAD, "transcription": {"model": f"{BASE}:child"}},
    ],
)
def test_an_update_that_is_refused_changes_nothing(open_session: Open, members: Any) -> None:
    with open_session() as session:
        event_of(session)
        update(session, turn_detection=None)
        say(session, babble(1.0))
        session.session.update(session={"type": "transcription", "audio": {"input": members}})
        assert events_until(session, "error")[-1].error.message.endswith("commit or clear it")
        session.input_audio_buffer.commit()
        done = events_until(session, f"{TRANSCRIPTION}.completed")[-1]
        assert done.transcript == "base words"
        assert done.usage.seconds == pytest.approx(1.0, abs=0.01)


def test_an_update_may_repeat_what_holds_within_a_turn(open_session: Open) -> None:
    with open_session() as session:
        told = event_of(session).session.audio.input
        update(session, turn_detection=None)
        say(session, babble(0.3), block_s=0.3)
        again = update(session, format=told.format.model_dump(), turn_detection=None)
        assert again.type == "session.updated"


def test_the_chosen_domain_stays_when_other_members_are_updated(
    open_session: Open, recogniser: FakeRecogniser
) -> None:
    recogniser.finds = {None: -5.0, "child": -1.0, "scottish": -9.0}
    with open_session(model=f"{BASE}:auto") as session:
        event_of(session)
        for turn in range(2):
            say(session, np.concatenate([babble(1.0), SILENCE]))
            done = events_until(session, f"{TRANSCRIPTION}.completed")[-1]
            assert ("auto" in done.ssvd) == (turn == 0)
            update(session, turn_detection=VAD)


def test_a_commit_of_too_little_keeps_it(open_session: Open) -> None:
    with open_session() as session:
        event_of(session)
        update(session, turn_detection=None)
        for _ in range(2):
            say(session, babble(0.08))
            session.input_audio_buffer.commit()
        assert events_until(session, "error")[-1].error.code == "input_audio_buffer_commit_empty"
        done = events_until(session, f"{TRANSCRIPTION}.completed")[-1]
        assert done.usage.seconds == pytest.approx(0.16, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "count", "held"),
    [("audio/pcmu", 790, "0.09875"), ("audio/pcmu", 799, "0.099875"), ("audio/pcm", 4798, "0.099958")],
)
def test_a_commit_of_too_little_says_how_little(open_session: Open, kind: str, count: int, held: str) -> None:
    """It said that 0.10 s are held and 0.1 s are needed."""
    with open_session() as session:
        event_of(session)
        update(session, format={"type": kind}, turn_detection=None)
        for part in (bytes(count - 101), bytes(101)):
            session.input_audio_buffer.append(audio=base64.b64encode(part).decode())
        session.input_audio_buffer.commit()
        message = events_until(session, "error")[-1].error.message
        assert message == f"the buffer holds {held} s: at least 0.1 s are needed"
        session.input_audio_buffer.append(audio=base64.b64encode(bytes(4800 - count)).decode())
        session.input_audio_buffer.commit()
        assert event_of(session).type == "input_audio_buffer.committed"


def test_audio_that_is_cut_at_odd_bytes_is_heard_whole(
    open_session: Open, recogniser: FakeRecogniser
) -> None:
    """Every event with half a sample was refused, so that a pipe lost all of them."""
    data = (soxr.resample(babble(2.0), 16_000, 24_000) * 32_767).astype("<i2").tobytes()
    heard = []
    for step in (4801, len(data)):
        with open_session() as session:
            event_of(session)
            update(session, turn_detection=None)
            for at in range(0, len(data), step):
                part = base64.b64encode(data[at : at + step]).decode()
                session.input_audio_buffer.append(audio=part)
            session.input_audio_buffer.commit()
            done = events_until(session, f"{TRANSCRIPTION}.completed")[-1]
            assert done.usage.seconds == pytest.approx(2.0, abs=0.01)
            heard.append(recogniser.pieces[-1].wave)
    assert np.allclose(heard[0], heard[1], atol=1e-4)


def test_clear_forgets_half_a_sample(open_session: Open, recogniser: FakeRecogniser) -> None:
    data = (soxr.resample(babble(2.0), 16_000, 24_000) * 32_767).astype("<i2").tobytes()
    with open_session() as session:
        event_of(session)
        update(session, turn_detection=None)
        heard = []
        for left_over in (b"", b"abc"):
            session.input_audio_buffer.append(audio=base64.b64encode(left_over).decode())
            session.input_audio_buffer.clear()
            session.input_audio_buffer.append(audio=base64.b64encode(data).decode())
            session.input_audio_buffer.commit()
            events_until(session, f"{TRANSCRIPTION}.completed")
            heard.append(recogniser.pieces[-1].wave)
    assert np.array_equal(heard[0], heard[1])


def test_a_buffer_that_is_full_says_so(open_session: Open) -> None:
    with open_session() as session:
        event_of(session)
        update(session, turn_detection=None)
        say(session, babble(9.0), block_s=9.0)
        assert events_until(session, "error")[-1].error.code == "input_audio_buffer_full"


def test_a_turn_that_fails_says_so(open_session: Open, recogniser: FakeRecogniser) -> None:
    recogniser.fail = SsvdError("the model broke")
    with open_session() as session:
        event_of(session)
        say(session, np.concatenate([babble(1.0), SILENCE]))
        failed = events_until(session, f"{TRANSCRIPTION}.failed")[-1]
        assert failed.error.message == "the model broke"


def test_a_turn_fails_aloud_when_the_server_has_a_bug(open_session: Open, monkeypatch: Any) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("server.api.realtime._told", broken)
    with open_session() as session:
        event_of(session)
        say(session, np.concatenate([babble(1.0), SILENCE]))
        failed = events_until(session, f"{TRANSCRIPTION}.failed")[-1]
        assert failed.error.code == "internal_error"


def test_only_so_many_sessions_are_open(open_session: Open) -> None:
    with open_session() as one, open_session() as two:
        event_of(one)
        event_of(two)
        with open_session() as three:
            error = event_of(three)
            assert error.error.code == "too_many_sessions"
            with pytest.raises(ConnectionClosed):
                three.recv_bytes()
    with open_session() as four:
        assert event_of(four).type == "session.created"


def test_a_session_of_another_intent_is_refused(url: str) -> None:
    with connect(f"ws{url.removeprefix('http')}/v1/realtime?model={BASE}") as socket:
        assert json.loads(socket.recv(TIMEOUT_S))["error"]["param"] == "intent"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        (f"model={BASE}&model={BASE}:child", "model"),
        ("intent=conversation", "intent"),
        (f"model={BASE}:nobody", "domain"),
    ],
)
def test_an_address_that_is_not_understood_begins_no_session(url: str, query: str, param: str) -> None:
    with connect(f"ws{url.removeprefix('http')}/v1/realtime?intent=transcription&{query}") as socket:
        assert json.loads(socket.recv(TIMEOUT_S))["error"]["param"] == param


def test_a_slash_after_the_route_is_no_refusal(url: str) -> None:
    with connect(f"ws{url.removeprefix('http')}/v1/realtime/?intent=transcription") as socket:
        assert json.loads(socket.recv(TIMEOUT_S))["type"] == "session.created"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://["])
def test_a_page_of_another_origin_cannot_connect(url: str, origin: str) -> None:
    address = f"ws{url.removeprefix('http')}/v1/realtime?intent=transcription"
    with pytest.raises(InvalidStatus) as refused, connect(address, origin=origin):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == 403
    error = json.loads(refused.value.response.body or b"")["error"]
    assert error["code"] == "origin_not_allowed"
    assert "SSVD_CORS_ORIGINS" in error["message"]
    with connect(address, origin=url) as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv(TIMEOUT_S))["type"] == "session.created"


def test_a_domain_of_another_base_is_refused_before_the_session_begins(
    open_session: Open, store: AdapterStore, recogniser: FakeRecogniser
) -> None:
    recogniser.foreign.add(store.resolve("scottish").sha256)
    with open_session(model=f"{BASE}:scottish") as session:
        assert event_of(session).error.code == "wrong_base"


def test_a_client_that_vanishes_leaves_nothing_behind(
    open_session: Open, engine: Engine, recogniser: FakeRecogniser
) -> None:
    recogniser.turns = threading.Semaphore(0)  # nothing is decoded
    with open_session() as session:
        event_of(session)
        say(session, np.concatenate([babble(1.0), SILENCE, babble(1.0)]))
        assert events_until(session, "conversation.item.done")
        assert recogniser.started.acquire(timeout=TIMEOUT_S)
    recogniser.turns.release(100)
    wait_until(lambda: engine.idle)
    with open_session() as one, open_session() as two:
        assert event_of(one).type == event_of(two).type == "session.created"


def test_a_silent_session_is_closed(live_settings: ServerSettings, engine: Engine) -> None:
    short = live_settings.model_copy(update={"realtime_idle_s": 0.5})
    with (
        listening(create_app(short, engine)) as url,
        connect(f"ws{url.removeprefix('http')}/v1/realtime?intent=transcription") as socket,
    ):
        socket.recv(TIMEOUT_S)
        assert json.loads(socket.recv(TIMEOUT_S))["error"]["code"] == "session_idle"
        with pytest.raises(ConnectionClosed):
            socket.recv(TIMEOUT_S)


def test_a_server_that_stops_ends_its_sessions(
    open_session: Open, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with open_session() as session:
        event_of(session)
        engine.drain()
        assert events_until(session, "error")[-1].error.code == "stopping"
    assert not [each for each in caplog.records if each.exc_info]


def test_a_microphone_that_never_pauses_hears_that_the_server_stops(
    open_session: Open, engine: Engine
) -> None:
    with open_session() as session:
        event_of(session)
        stopped = threading.Event()

        def talk() -> None:
            while not stopped.wait(0.05):
                with suppress(ConnectionClosed):
                    session.input_audio_buffer.append(audio="AAAA")

        talking = threading.Thread(target=talk)
        talking.start()
        try:
            engine.drain()
            assert events_until(session, "error")[-1].error.code == "stopping"
        finally:
            stopped.set()
            talking.join()
