"""Live sessions with keys: how a key is sent, what a session is charged, and the end of a key within one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from tests.server.api.test_realtime import TRANSCRIPTION, event_of, events_until, say, update
from tests.server.fakes import BASE, TIMEOUT_S, wait_until
from tests.server.keys.making import bearer, make_key, make_private, revoke
from tests.server.live import listening
from tests.speechlike import babble

# The `openai` client opens its socket in a way that the newest `websockets` warns of.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")

BY_HAND = {"turn_detection": None}  # the client commits


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make_key(tmp_path / "keys.json", "other")
    return tmp_path / "keys.json"


@pytest.fixture
def step_s() -> float:
    return 100.0  # no early text


@pytest.fixture
def url(settings: ServerSettings, engine: Engine, keys: Path, step_s: float) -> Iterator[str]:
    live = settings.model_copy(update={"keys": keys, "realtime_step_s": step_s})
    with listening(create_app(live, engine)) as url:
        yield url


def socket(url: str, **how: Any) -> ClientConnection:
    return connect(f"ws{url.removeprefix('http')}/v1/realtime?intent=transcription", **how)


def session(url: str, key: str) -> Any:
    api = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    return api.realtime.connect(extra_query={"intent": "transcription"})


def turn(open_session: Any, seconds: float) -> Any:
    """The last event of a turn that the client commits."""
    say(open_session, babble(seconds))
    open_session.input_audio_buffer.commit()
    while True:
        event = event_of(open_session)
        if event.type in (f"{TRANSCRIPTION}.completed", f"{TRANSCRIPTION}.failed"):
            return event


def test_a_key_comes_in_a_header_or_as_a_browser_sends_it(url: str, keys: Path) -> None:
    key = make_key(keys, "a")
    with socket(url, additional_headers=bearer(key)) as opened:
        assert json.loads(opened.recv(TIMEOUT_S))["type"] == "session.created"
    browser = ["realtime", f"openai-insecure-api-key.{key}"]
    with socket(url, subprotocols=browser) as opened:  # type: ignore[arg-type]
        assert json.loads(opened.recv(TIMEOUT_S))["type"] == "session.created"
        assert opened.subprotocol == "realtime"  # and the key is not sent back


@pytest.mark.parametrize("how", [{}, {"subprotocols": ["realtime", "openai-insecure-api-key.ssvd-wrong"]}])
def test_without_a_key_the_socket_is_not_opened_and_the_client_is_told_why(url: str, how: Any) -> None:
    with pytest.raises(InvalidStatus) as refused, socket(url, **how):
        raise AssertionError("it was let in")
    response = refused.value.response
    assert response.status_code == 401
    assert json.loads(response.body or b"")["error"]["code"] == "invalid_api_key"


def test_turns_are_charged_and_one_too_many_fails_by_name(url: str, keys: Path) -> None:
    with session(url, make_key(keys, "small", audio_s_per_hour=5)) as live:
        event_of(live)
        update(live, transcription={"model": BASE}, **BY_HAND)
        assert turn(live, 2.0).type.endswith("completed")
        failed = turn(live, 4.0)
        assert failed.error.code == "quota_exceeded"
        assert turn(live, 2.5).type.endswith("completed")  # the refused turn was not charged
        assert turn(live, 0.5).error.code == "quota_exceeded"


@pytest.mark.parametrize("step_s", [0.4])
def test_early_text_is_charged_too_though_the_client_then_clears_the_buffer(url: str, keys: Path) -> None:
    with session(url, make_key(keys, "sly", audio_s_per_hour=5)) as live:
        event_of(live)
        update(live, transcription={"model": BASE}, **BY_HAND)
        say(live, babble(4.5))
        events_until(live, f"{TRANSCRIPTION}.delta")
        live.input_audio_buffer.clear()
        events_until(live, "input_audio_buffer.cleared")
        assert turn(live, 4.5).error.code == "quota_exceeded"


def test_a_session_takes_one_of_the_key_s_places(url: str, keys: Path) -> None:
    key = make_key(keys, "narrow", concurrent=1)
    with socket(url, additional_headers=bearer(key)) as opened:
        opened.recv(TIMEOUT_S)
        with pytest.raises(InvalidStatus) as refused, socket(url, additional_headers=bearer(key)):
            raise AssertionError("it was let in")
        assert refused.value.response.status_code == 429

    def is_let_in() -> bool:
        try:
            with socket(url, additional_headers=bearer(key)) as again:
                assert again.recv(TIMEOUT_S)
                return True
        except InvalidStatus:
            return False

    wait_until(is_let_in)  # the server notices the end a moment later


def test_a_private_domain_does_not_exist_and_one_that_becomes_private_goes(url: str, keys: Path) -> None:
    make_private(keys, "child")
    with session(url, make_key(keys, "a")) as live:
        event_of(live)
        refused = {}
        for name in ("child", "chyld"):
            refused[name] = update(live, transcription={"model": f"{BASE}:{name}"}).error
        assert refused["child"].code == refused["chyld"].code == "domain_not_found"
        assert refused["child"].message.replace("child", "chyld") == refused["chyld"].message
        update(live, transcription={"model": f"{BASE}:scottish"}, **BY_HAND)
        assert turn(live, 1.0).transcript.startswith("scottish")
        make_private(keys, "child", "scottish")
        assert turn(live, 1.0).error.code == "domain_not_found"


def test_a_revoked_key_ends_the_words_of_its_session(url: str, keys: Path) -> None:
    with session(url, make_key(keys, "a")) as live:
        event_of(live)
        update(live, transcription={"model": BASE}, **BY_HAND)
        assert turn(live, 1.0).type.endswith("completed")
        revoke(keys, "a")
        assert turn(live, 1.0).error.code == "invalid_api_key"
        silence = base64.b64encode(np.zeros(100, "<i2").tobytes()).decode()
        live.input_audio_buffer.append(audio=silence)
        assert update(live, transcription={"model": f"{BASE}:child"}).error.code == "invalid_api_key"
