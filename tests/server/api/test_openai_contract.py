"""OpenAI's contract field by field: what the newest `openai` client and its types make of every reply.

The types are checked in strict mode: nothing is coerced, and no field that they require is missing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient
from openai.types.audio import (
    Transcription,
    TranscriptionStreamEvent,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)
from pydantic import TypeAdapter

from server.app import create_app
from server.engine.engine import Engine
from server.settings import ServerSettings
from ssvd_asr.base.prompt import IDENTIFIED, RECOGNITION, TO_ENGLISH
from ssvd_asr.decoding.keywords import MAX_KEYWORDS
from ssvd_asr.errors import SsvdError
from tests.server.api.test_transcriptions import post, refusal
from tests.server.fakes import BASE, FakeRecogniser
from tests.server.live import listening
from tests.speechlike import phrases, wav_bytes

TRANSLATIONS = "/v1/audio/translations"
ALIASES = f"whisper-1={BASE}, gpt-4o-transcribe={BASE}:child"


def strictly[T](kind: type[T], body: Any) -> T:
    return TypeAdapter(kind).validate_json(json.dumps(body), strict=True)


@pytest.fixture
def two_pieces() -> bytes:
    """Speech, a silence, and speech again: two pieces for the fake base."""
    return wav_bytes(phrases(2))


@pytest.fixture
def api(settings: ServerSettings, engine: Engine) -> Iterator[openai.OpenAI]:
    with (
        listening(create_app(settings.model_copy(update={"model_aliases": ALIASES}), engine)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def translate(client: TestClient, clip: bytes, **fields: Any) -> Any:
    return client.post(TRANSLATIONS, files={"file": ("clip.wav", clip)}, data=fields)


def events_of(client: TestClient, clip: bytes, **fields: Any) -> list[Any]:
    response = post(client, clip, stream="true", **fields)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [TypeAdapter(TranscriptionStreamEvent).validate_json(line, strict=True) for line in lines]


def test_every_json_reply_is_of_its_type(client: TestClient, clip: bytes) -> None:
    plain = strictly(Transcription, post(client, clip, **{"include[]": "logprobs"}).json())
    assert plain.logprobs is not None
    assert "".join(token.token or "" for token in plain.logprobs) == plain.text
    assert bytes(int(byte) for token in plain.logprobs for byte in token.bytes or ()) == plain.text.encode()
    assert all(token.logprob is not None and token.logprob <= 0 for token in plain.logprobs)
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    verbose = strictly(TranscriptionVerbose, post(client, clip, **asked).json())
    assert verbose.segments
    assert verbose.words
    assert verbose.language == "english"


def test_without_being_asked_no_log_probabilities_are_told(client: TestClient, clip: bytes) -> None:
    assert "logprobs" not in post(client, clip).json()


def test_a_stream_says_the_words_of_the_whole_reply_piece_by_piece(
    client: TestClient, two_pieces: bytes
) -> None:
    whole = post(client, two_pieces, domain="child").json()
    *deltas, done = events_of(client, two_pieces, domain="child", **{"include[]": "logprobs"})
    assert len(deltas) == 2
    assert all(isinstance(each, TranscriptionTextDeltaEvent) for each in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join(each.delta for each in deltas) == done.text == whole["text"]
    for each in (*deltas, done):
        said = each.delta if isinstance(each, TranscriptionTextDeltaEvent) else each.text
        assert "".join(token.token or "" for token in each.logprobs or ()) == said
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0
    assert done.ssvd == whole["ssvd"]  # type: ignore[attr-defined]


def test_a_stream_with_times_has_the_segments_of_the_whole_reply(
    client: TestClient, two_pieces: bytes
) -> None:
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    whole = post(client, two_pieces, **asked).json()
    *found, done = events_of(client, two_pieces, **asked)
    segments = [each for each in found if isinstance(each, TranscriptionTextSegmentEvent)]
    assert [(each.text, each.start, each.end) for each in segments] == [
        (each["text"], each["start"], each["end"]) for each in whole["segments"]
    ]
    assert len({each.id for each in segments}) == len(segments)
    assert done.words == whole["words"]


def test_early_text_comes_while_later_pieces_wait(api: openai.OpenAI, recogniser: FakeRecogniser) -> None:
    """A batch of the fixture holds two pieces; the third has its turn when the text of the two is read."""
    wave = phrases(3)
    recogniser.turns = threading.Semaphore(1)
    seen = []
    with api.audio.transcriptions.create(file=("a.wav", wav_bytes(wave)), model=BASE, stream=True) as events:
        for event in events:
            seen.append(event.type)
            if len(seen) == 2:
                assert len(recogniser.pieces) == 2
                recogniser.turns.release()
    assert seen == ["transcript.text.delta"] * 3 + ["transcript.text.done"]


def test_a_stream_that_fails_ends_with_openais_error(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.fail = SsvdError("the model broke")
    response = post(client, clip, stream="true")
    assert response.status_code == 200
    *_, last = [line for line in response.text.splitlines() if line.startswith("data: ")]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["message"] == "the model broke"
    assert set(error) == {"message", "type", "param", "code"}


def test_the_client_raises_the_error_of_a_stream(
    api: openai.OpenAI, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.fail = SsvdError("the model broke")
    with (
        pytest.raises(openai.APIError, match="the model broke"),
        api.audio.transcriptions.create(file=("clip.wav", clip), model=BASE, stream=True) as events,
    ):
        list(events)


def test_a_request_that_is_refused_is_refused_before_its_stream(client: TestClient, clip: bytes) -> None:
    assert refusal(post(client, clip, stream="true", domain="klingon"), 404)["code"] == "domain_not_found"
    assert refusal(post(client, b"no audio", stream="true"), 415)["param"] == "file"


def test_silence_streams_an_empty_text(client: TestClient) -> None:
    (done,) = events_of(client, wav_bytes(np.zeros(16_000, np.float32)))
    assert done.text == ""


def test_keywords_go_with_every_piece_of_a_request_and_with_no_other(
    api: openai.OpenAI, recogniser: FakeRecogniser, clip: bytes
) -> None:
    words = [" Kotlin", "new york", "Kotlin"]
    api.audio.transcriptions.create(file=("a.wav", clip), model=BASE, keywords=words)
    api.audio.transcriptions.create(file=("a.wav", clip), model=BASE)
    assert [piece.keywords for piece in recogniser.pieces] == [("Kotlin", "new york"), ()]
    many = [f"word {index}" for index in range(MAX_KEYWORDS)]
    api.audio.transcriptions.create(file=("a.wav", clip), model=BASE, keywords=many)
    assert recogniser.pieces[-1].keywords == tuple(many)


def test_an_alias_is_the_model_that_it_stands_for(api: openai.OpenAI, clip: bytes) -> None:
    said = {
        alias: api.audio.transcriptions.create(file=("a.wav", clip), model=alias).text
        for alias in ("whisper-1", "gpt-4o-transcribe")
    }
    assert said == {"whisper-1": "base words", "gpt-4o-transcribe": "child words of version 2"}
    assert {"whisper-1", "gpt-4o-transcribe"} <= {model.id for model in api.models.list()}
    assert api.models.retrieve("whisper-1").id == "whisper-1"


@pytest.mark.parametrize(
    "alias", [f"{BASE}=other", "a=another-base", f"a={BASE}-large", f"{BASE}:child={BASE}"]
)
def test_an_alias_of_what_is_not_served_ends_the_start(
    settings: ServerSettings, engine: Engine, alias: str
) -> None:
    with pytest.raises(SsvdError, match="SSVD_MODEL_ALIASES"):
        create_app(settings.model_copy(update={"model_aliases": alias}), engine)


def test_a_base_that_does_not_translate_says_so(client: TestClient, clip: bytes) -> None:
    error = refusal(translate(client, clip), 422)
    assert error["code"] == "translation_unsupported"
    assert error["param"] == "model"


def test_translations_are_of_their_types(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recogniser, "translates", True)
    recogniser.identifies_language = True
    recogniser.hears = "<nld>"
    body = translate(client, clip, domain="child").json()
    assert strictly(Translation, body).text == "child words of version 2"
    assert body["languages"] == [{"code": "nl"}]
    verbose = strictly(TranslationVerbose, translate(client, clip, response_format="verbose_json").json())
    assert verbose.language == "english"
    assert verbose.segments
    assert translate(client, clip, response_format="srt").text.startswith("1\n00:00:00")
    assert {piece.task for piece in recogniser.pieces} == {TO_ENGLISH}
    assert {piece.language for piece in recogniser.pieces} == {IDENTIFIED}
    post(client, clip)
    assert recogniser.pieces[-1].task == RECOGNITION


@pytest.mark.parametrize("field", ["stream", "include[]", "timestamp_granularities[]", "keywords[]"])
def test_translations_have_no_fields_of_transcriptions(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes, field: str
) -> None:
    recogniser.translates = True
    error = refusal(translate(client, clip, **{field: "word"}), 400)
    assert error["param"] == field.removesuffix("[]")


def test_one_of_several_languages_is_identified(
    client: TestClient, recogniser: FakeRecogniser, clip: bytes
) -> None:
    recogniser.identifies_language = True
    recogniser.hears = "<nld>"
    body = post(client, clip, **{"languages[]": ["en", "nl"]}).json()
    assert body["languages"] == [{"code": "nl"}]
    assert recogniser.pieces[-1].languages == ("<eng>", "<nld>")
    assert recogniser.pieces[-1].language == IDENTIFIED
    post(client, clip, **{"languages[]": "nl"})
    assert recogniser.pieces[-1].language == "<nld>"
    assert refusal(post(client, clip, **{"languages[]": ["en", "fr"]}), 422)["param"] == "languages"
    body = post(client, clip, **{"languages[]": ["nl", "nld", "dutch"]}).json()
    assert recogniser.pieces[-1].language == "<nld>"  # one language, however often it is named
    assert "languages" not in body
