"""Requests that leave their domain to the server: their time over named ones, and two speakers in one."""

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
from server.engine.model_recogniser import ModelRecogniser
from server.engine.start import engine_over
from server.settings import ServerSettings
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.adapter.write import save_adapter
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.scoring import score

NAME = "any-voice-times"
DOMAINS = (2, 10, 64)
CLIPS = 2  # of each of the ten kinds, decoded one after the other
ROUNDS = 3
FAR = 10.0  # standard deviations between the voices of a copy and those of its original

PAUSE_S = 1.0  # between two speakers

Clip = tuple[str, npt.NDArray[np.float32], str]  # domain, audio, text


def measure(data: Path, adapters: Path, results: Path) -> dict[str, Any]:
    """Time named and chosen domains among 2, 10 and 64, write the results and return them."""
    recogniser = ModelRecogniser.load("owsm-nano", device="cpu", dtype="float32")
    clips = [
        (domain, read_audio(path.parent / entry["audio"]), entry["text"])
        for domain in TEN
        for path in [corpus(data, domain, "test")]
        for entry in map(json.loads, path.read_text(encoding="utf-8").splitlines()[:CLIPS])
    ]
    rows: dict[str, Mapping[str, float]] = {}
    together: Mapping[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = AdapterStore(Path(folder) / "store", builtin=Path(folder) / "none")
        for count in DOMAINS:
            _fill(store, adapters, count)
            rows[str(count)] = _times(recogniser, store, clips)
            print(count, rows[str(count)], flush=True)
            if count == len(TEN):
                together = _two_speakers(recogniser, store, clips)
    found = {"clips": len(clips), "rounds": ROUNDS, "rows": rows, "two_speakers": together}
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
            mean + FAR * np.sqrt(np.diag(covariance)),
            covariance,  # of correlations rounded to float16
            loaded.metadata.voices.utterances,
            check_valid="ignore",
        )
        metadata = loaded.metadata.model_copy(
            update={"voices": VoiceSummary.of(loaded.metadata.voices.probe, moved)}
        )
        path = Path(store.where).parent / "copy.safetensors"
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
                for domain, wave, _ in clips:
                    _say(engine, domain if domain in present else None, wave, wish)
                if turn:
                    spent[kind].append(time.process_time() - began)
    finally:
        engine.close(timeout_s=5)
    return {kind: round(median(found), 3) for kind, found in spent.items()}


def _two_speakers(recogniser: ModelRecogniser, store: AdapterStore, clips: list[Clip]) -> Mapping[str, float]:
    """Return the WER of recordings of two speakers: each apart by its label, one choice, a choice a piece."""
    engine = engine_over(recogniser, ServerSettings(hints="never"), store)
    pairs = list(zip(clips, clips[len(clips) // 2 :], strict=False))  # an adult, then a child
    pause = np.zeros(int(PAUSE_S * SAMPLE_RATE), np.float32)
    references = [f"{first[2]} {second[2]}" for first, second in pairs]
    joined = [np.concatenate([first[1], pause, second[1]]) for first, second in pairs]
    try:
        found = {
            "apart, right labels": [
                " ".join(_say(engine, domain, wave, None) for domain, wave, _ in pair) for pair in pairs
            ]
        }
        for name, per_piece in (("auto", False), ("auto for each piece", True)):
            engine.auto_options = replace(engine.auto_options, per_piece=per_piece)
            found[name] = [_say(engine, None, wave, AutoWish()) for wave in joined]
        found["base"] = [_say(engine, None, wave, None) for wave in joined]
    finally:
        engine.close(timeout_s=5)
    return {name: score(references, texts).wer for name, texts in found.items()}


def _say(engine: Engine, domain: str | None, wave: npt.NDArray[np.float32], wish: AutoWish | None) -> str:
    named = None if wish is not None or domain in HOME else domain
    return engine.submit(Request(wave, domain=named, auto=wish)).result(600).text
