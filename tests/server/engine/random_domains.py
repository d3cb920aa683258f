"""Checks of an engine that serves random adapters of a random base, the same for every kind of base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from adapters_store.store import AdapterStore
from server.engine.engine import Engine
from server.engine.messages import Reply, Request
from server.engine.model_recogniser import ModelRecogniser
from server.engine.start import engine_over
from server.settings import ServerSettings
from ssvd_asr.base.prompt import IDENTIFIED
from ssvd_asr.transcription import transcribe
from tests.server.real import write_random_adapter
from tests.speechlike import babble

DURATION_S = 2.0
WAVE = babble(DURATION_S)


def write_random_adapters(folder: Path, cache: Path, work: Path, names: Sequence[str]) -> dict[str, Path]:
    """Write an adapter of a base's `folder` for each name, and return their files."""
    return {
        name: write_random_adapter(work / name, folder, cache, seed=seed)
        for seed, name in enumerate(names, 1)
    }


@contextmanager
def serving_domains(
    recogniser: ModelRecogniser, adapters: Mapping[str, Path], work: Path
) -> Iterator[tuple[Engine, AdapterStore]]:
    """Yield an engine, and its store with each adapter under its name."""
    store = AdapterStore(work / "published", builtin=work / "none")
    for name, path in adapters.items():
        store.publish(name, path)
    engine = engine_over(recogniser, ServerSettings(), store)
    yield engine, store
    engine.close(timeout_s=30)


def replies_of_a_mixed_batch(
    engine: Engine, store: AdapterStore, recogniser: ModelRecogniser, names: Sequence[str]
) -> list[Reply]:
    """Return the replies to a batch of domains and the base, after a check that each is as it is alone."""
    first, second = names
    asked = [first, None, second, first, None]
    replies = [each.result(60) for each in [engine.submit(Request(WAVE, domain=name)) for name in asked]]
    alone: dict[str | None, str] = {None: transcribe(recogniser._base, [WAVE])[0].text}
    for name in names:
        cores = recogniser.read_adapter(store.resolve(name)).expand("cpu", torch.float32)
        alone[name] = transcribe(recogniser._base, [WAVE], adapted=recogniser._adapted, cores=cores)[0].text
    assert [" ".join(reply.text.split()) for reply in replies] == [
        " ".join(alone[name].split()) for name in asked
    ]
    assert len(set(alone.values())) == 3
    return replies


def check_times_and_identified_language(engine: Engine, languages: Sequence[str]) -> None:
    """Words lie in order in the recording, and the language is one that the base has."""
    reply = engine.submit(Request(WAVE, language=IDENTIFIED, timestamps=True)).result(60)
    assert f"<{reply.language}>" in languages
    assert reply.words
    times = [(word.start_s, word.end_s) for word in reply.words]
    assert all(
        start is not None and end is not None and 0 <= start <= end <= DURATION_S for start, end in times
    )
