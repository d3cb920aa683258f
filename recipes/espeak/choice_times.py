"""Time of a request that leaves its domain to the server, over one that names it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters_store.store import AdapterStore
from recipes.espeak.choices import NEW
from recipes.espeak.speak import TEN
from recipes.espeak.ten_domains import HOME, corpus
from server.auto.wish import AutoWish
from server.auto_options import AutoOptions
from server.engine.engine import Engine
from server.engine.messages import Request
from server.engine.recogniser import ModelRecogniser
from server.engine.start import engine_over
from server.settings import ServerSettings
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.adapter.write import save_adapter
from ssvd_asr.audio.read import read_audio

NAME = "any-voice-times"
DOMAINS = (2, 10, 64)
CLIPS = 2  # of each of the ten kinds, decoded one after the other
ROUNDS = 3
FAR = 10.0  # standard deviations between the voices of a copy and those of its original

Clip = tuple[str, npt.NDArray[np.float32]]


def measure(data: Path, adapters: Path, results: Path) -> dict[str, Any]:
    """Time named and chosen domains among 2, 10 and 64, write the results and return them."""
    recogniser = ModelRecogniser.load("owsm-nano", device="cpu", dtype="float32")
    clips = [
        (domain, read_audio(path.parent / json.loads(line)["audio"]))
        for domain in TEN
        for path in [corpus(data, domain, "test")]
        for line in path.read_text(encoding="utf-8").splitlines()[:CLIPS]
    ]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        store = AdapterStore(Path(folder) / "store", builtin=Path(folder) / "none")
        for count in DOMAINS:
            _fill(store, adapters, count)
            rows[str(count)] = _times(recogniser, store, clips)
            print(count, rows[str(count)], flush=True)
    found = {"clips": len(clips), "rounds": ROUNDS, "rows": rows}
    (results / f"{NAME}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _fill(store: AdapterStore, adapters: Path, count: int) -> None:
    """Publish the domains' own adapters, then copies of them for voices that nobody has."""
    for index in range(len(store.list()), count):
        original, copy = NEW[index % len(NEW)], index // len(NEW)
        loaded = load_adapter(adapters / original / "adapter.safetensors")
        assert loaded.metadata.voices is not None
        if copy == 0:
            store.publish(original, adapters / original / "adapter.safetensors")
            continue
        mean, covariance = loaded.metadata.voices.gaussian()
        moved = np.random.default_rng(index).multivariate_normal(
            mean + FAR * np.sqrt(np.diag(covariance)), covariance, loaded.metadata.voices.utterances
        )
        metadata = loaded.metadata.model_copy(
            update={"voices": VoiceSummary.of(loaded.metadata.voices.probe, moved)}
        )
        path = store.root.parent / "copy.safetensors"
        save_adapter(path, loaded.adapter, metadata=metadata)
        store.publish(f"{original}-{copy}", path)


def _times(recogniser: ModelRecogniser, store: AdapterStore, clips: list[Clip]) -> Mapping[str, float]:
    """Return seconds of processor and wall for all clips by kind of request, the median of the rounds."""
    engine = engine_over(recogniser, ServerSettings(hints="never"), store)
    options = engine.auto_options
    present = {domain.name for domain in store.list()}
    kinds: dict[str, tuple[AutoWish | None, AutoOptions]] = {
        "named": (None, options),
        "fast": (AutoWish(mode="fast"), options),
        "auto": (AutoWish(), options),
        "never skipping": (AutoWish(), replace(options, sure=2.0)),
    }
    spent: dict[str, list[float]] = {kind: [] for kind in kinds}
    try:
        for turn in range(ROUNDS + 1):  # the first is not counted: files are read
            for kind, (wish, used) in kinds.items():
                engine.auto_options = used
                began = time.process_time()
                for domain, wave in clips:
                    _say(engine, domain if domain in present else None, wave, wish)
                if turn:
                    spent[kind].append(time.process_time() - began)
    finally:
        engine.close(timeout_s=5)
    return {kind: round(median(found), 3) for kind, found in spent.items()}


def _say(engine: Engine, domain: str | None, wave: npt.NDArray[np.float32], wish: AutoWish | None) -> None:
    engine.submit(
        Request(wave, domain=None if wish is not None or domain in HOME else domain, auto=wish)
    ).result(600)
