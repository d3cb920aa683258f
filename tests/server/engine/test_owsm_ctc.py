"""The engine serves an OWSM-CTC by its best path: domains side by side, words, times and languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.engine.messages import Request
from server.engine.recogniser import ModelRecogniser
from server.settings import ServerSettings
from ssvd_asr.base.prompt import IDENTIFIED
from ssvd_asr.decoding.options import DecodingOptions, Method
from ssvd_asr.errors import SsvdError
from ssvd_asr.transcription import transcribe
from tests.random_owsm import TINY_CTC, write_random_owsm
from tests.server.engine.test_recogniser import engine_over
from tests.server.real import write_random_adapter
from tests.speechlike import babble

WAVE = babble(2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_owsm(tmp_path_factory.mktemp("ctc") / "tiny", TINY_CTC)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def recogniser(folder: Path, cache: Path) -> ModelRecogniser:
    return ModelRecogniser.load(str(folder), device="cpu", dtype="auto", cache_dir=cache)


@pytest.fixture
def running(
    recogniser: ModelRecogniser, folder: Path, cache: Path, tmp_path: Path
) -> Iterator[tuple[Engine, AdapterStore]]:
    store = AdapterStore(tmp_path / "published", builtin=tmp_path / "none")
    for seed, name in enumerate(("one", "two"), 1):
        store.publish(name, write_random_adapter(tmp_path / name, folder, cache, seed=seed))
    engine = engine_over(recogniser, ServerSettings(), store)
    yield engine, store
    engine.close(timeout_s=30)


def test_each_domain_of_a_batch_says_what_it_says_alone(
    running: tuple[Engine, AdapterStore], recogniser: ModelRecogniser
) -> None:
    engine, store = running
    names = ["one", None, "two", "one", None]
    replies = [each.result(60) for each in [engine.submit(Request(WAVE, domain=name)) for name in names]]
    alone: dict[str | None, str] = {None: transcribe(recogniser._base, [WAVE])[0].text}
    for name in ("one", "two"):
        cores = recogniser.read_adapter(store.resolve(name)).expand("cpu", torch.float32)
        alone[name] = transcribe(recogniser._base, [WAVE], adapted=recogniser._adapted, cores=cores)[0].text
    assert [" ".join(reply.text.split()) for reply in replies] == [
        " ".join(alone[name].split()) for name in names
    ]
    assert len(set(alone.values())) == 3
    assert {(reply.decoding[0].search, reply.decoding[0].doubt_nats) for reply in replies} == {("ctc", 0.0)}


def test_words_have_times_and_a_language_left_to_the_base_is_one_it_has(
    running: tuple[Engine, AdapterStore], recogniser: ModelRecogniser
) -> None:
    engine, _ = running
    reply = engine.submit(Request(WAVE, language=IDENTIFIED, timestamps=True)).result(60)
    assert f"<{reply.language}>" in recogniser.languages
    assert reply.words
    times = [(word.start_s, word.end_s) for word in reply.words]
    assert all(start is not None and end is not None and 0 <= start <= end <= 2.0 for start, end in times)


@pytest.mark.parametrize("method", ["checked", "greedy", "beam"])
def test_a_search_that_needs_a_decoder_is_refused_at_the_start(
    folder: Path, cache: Path, method: Method
) -> None:
    with pytest.raises(SsvdError, match=rf"search {method}: .* no decoder; it knows ctc \(SSVD_SEARCH\)"):
        ModelRecogniser.load(
            str(folder), device="cpu", dtype="auto", cache_dir=cache, search=DecodingOptions(method)
        )


def test_times_by_the_base_are_refused_at_the_start(folder: Path, cache: Path) -> None:
    with pytest.raises(SsvdError, match=r"no decoder to say them \(SSVD_TIMES\)"):
        ModelRecogniser.load(str(folder), device="cpu", dtype="auto", cache_dir=cache, times="base")
