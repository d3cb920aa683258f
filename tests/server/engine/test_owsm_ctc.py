"""The engine serves an OWSM-CTC by its best path: domains side by side, words, times and languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.engine.model_recogniser import ModelRecogniser
from ssvd_asr.decoding.options import DecodingOptions, Method
from ssvd_asr.errors import SsvdError
from tests.random_owsm import TINY_CTC, write_random_owsm
from tests.server.engine.random_domains import (
    check_times_and_identified_language,
    replies_of_a_mixed_batch,
    serving_domains,
    write_random_adapters,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_owsm(tmp_path_factory.mktemp("ctc") / "tiny", TINY_CTC)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def recogniser(folder: Path, cache: Path) -> ModelRecogniser:
    return ModelRecogniser.load(str(folder), device="cpu", dtype="auto", cache_dir=cache)


@pytest.fixture(scope="module")
def adapters(folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_random_adapters(folder, cache, tmp_path_factory.mktemp("adapters"), ("one", "two"))


@pytest.fixture
def running(
    recogniser: ModelRecogniser, adapters: dict[str, Path], tmp_path: Path
) -> Iterator[tuple[Engine, AdapterStore]]:
    with serving_domains(recogniser, adapters, tmp_path) as engine_and_store:
        yield engine_and_store


def test_each_domain_of_a_batch_says_what_it_says_alone(
    running: tuple[Engine, AdapterStore], recogniser: ModelRecogniser
) -> None:
    replies = replies_of_a_mixed_batch(*running, recogniser, ("one", "two"))
    assert {(reply.decoding[0].search, reply.decoding[0].doubt_nats) for reply in replies} == {("ctc", 0.0)}


def test_words_have_times_and_a_language_left_to_the_base_is_one_it_has(
    running: tuple[Engine, AdapterStore], recogniser: ModelRecogniser
) -> None:
    check_times_and_identified_language(running[0], recogniser.languages)


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
