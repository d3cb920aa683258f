"""The engine serves a Whisper as it serves an OWSM: domains side by side, words, times and languages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters_store.store import AdapterStore
from server.auto.wish import AutoWish, wish_of
from server.engine.engine import Engine
from server.engine.messages import Request
from server.engine.model_recogniser import ModelRecogniser
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.base.prompt import RECOGNITION, TO_ENGLISH
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.errors import SsvdError
from tests.random_whisper import write_random_whisper
from tests.server.engine.random_domains import (
    WAVE,
    check_times_and_identified_language,
    replies_of_a_mixed_batch,
    serving_domains,
    write_random_adapters,
)
from tests.speechlike import babble


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whisper(folder: Path, cache: Path) -> ModelRecogniser:
    return ModelRecogniser.load(str(folder), device="cpu", dtype="auto", cache_dir=cache)


@pytest.fixture(scope="module")
def adapters(folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_random_adapters(folder, cache, tmp_path_factory.mktemp("adapters"), ("nl", "cs"))


@pytest.fixture
def running(
    whisper: ModelRecogniser, adapters: dict[str, Path], tmp_path: Path
) -> Iterator[tuple[Engine, AdapterStore]]:
    with serving_domains(whisper, adapters, tmp_path) as engine_and_store:
        yield engine_and_store


def test_each_domain_of_a_batch_says_what_it_says_alone(
    running: tuple[Engine, AdapterStore], whisper: ModelRecogniser
) -> None:
    replies = replies_of_a_mixed_batch(*running, whisper, ("nl", "cs"))
    assert {reply.decoding[0].doubt_nats for reply in replies} == {None}


def test_words_have_times_and_a_language_left_to_the_base_is_one_it_has(
    running: tuple[Engine, AdapterStore], whisper: ModelRecogniser
) -> None:
    assert whisper.identifies_language
    check_times_and_identified_language(running[0], whisper._base.tokens.languages)


def test_a_domain_left_to_the_server_is_the_surest_of_its_words(running: tuple[Engine, AdapterStore]) -> None:
    engine, _ = running
    reply = engine.submit(Request(WAVE, auto=AutoWish())).result(60)
    (chosen,) = reply.chosen
    assert chosen.compared
    assert {each.domain for each in chosen.considered} == {"nl", "cs", None}
    best = max(chosen.considered, key=lambda each: each.nats_a_token or -math.inf)
    named = engine.submit(Request(WAVE, domain=best.domain)).result(60)
    assert (reply.provenance.domain, reply.text) == (best.domain, named.text)


@pytest.mark.parametrize("near", ["nl", "cs"])
def test_a_domain_left_to_the_server_is_that_of_the_nearest_voices(
    running: tuple[Engine, AdapterStore], whisper: ModelRecogniser, near: str
) -> None:
    engine, store = running
    points = whisper._base.voice_points([babble(2.0, seed=seed) for seed in range(12)]).numpy()
    for name in ("nl", "cs"):
        away = 0.0 if name == near else 3.0 * points.std(axis=0)
        summary = VoiceSummary.of(whisper.voice_probe, points + away)
        store.voices.write(store.resolve(name).sha256, summary)
    reply = engine.submit(Request(WAVE, auto=wish_of("auto:nl,cs"))).result(60)
    named = engine.submit(Request(WAVE, domain=near)).result(60)
    assert (reply.provenance.domain, reply.text) == (near, named.text)


def test_a_search_by_ctc_is_refused_at_the_start(folder: Path, cache: Path) -> None:
    with pytest.raises(SsvdError, match=r"no CTC head; it knows .* \(SSVD_SEARCH\)"):
        ModelRecogniser.load(
            str(folder), device="cpu", dtype="auto", cache_dir=cache, search=DecodingOptions("ctc")
        )


@pytest.mark.parametrize("domain", [None, "nl"])
def test_a_translation_has_the_same_words_with_and_without_times(
    running: tuple[Engine, AdapterStore], domain: str | None
) -> None:
    engine, _ = running
    assert engine.recogniser.translates
    plain, timed, said = (
        engine.submit(Request(WAVE, domain, "<nld>", task=task, timestamps=timestamps)).result(60)
        for task, timestamps in ((TO_ENGLISH, False), (TO_ENGLISH, True), (RECOGNITION, False))
    )
    assert plain.text == timed.text
    assert plain.text != said.text  # another task is another prompt, and the weights are random


def test_the_tokens_of_a_reply_are_its_text(running: tuple[Engine, AdapterStore]) -> None:
    engine, _ = running
    reply = engine.submit(Request(WAVE, "cs", "<nld>", scores_tokens=True)).result(60)
    assert b"".join(token.data for token in reply.tokens).decode(errors="replace").strip() == reply.text
    assert reply.usage.audio_tokens == math.ceil(1500 * 2.0 / 30)
    assert reply.usage.said_tokens >= len(reply.tokens)
