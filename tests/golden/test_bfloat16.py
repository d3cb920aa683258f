"""In bfloat16 mixed batches say what they say in float32, wherever no step was decided narrowly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters_store.packaged import PACKAGED
from adapters_store.store import AdapterStore
from recipes.espeak.goldens import GOLDENS
from server.engine.messages import Request
from server.engine.model_recogniser import ModelRecogniser
from server.engine.start import engine_over
from server.settings import ServerSettings
from ssvd_asr.audio.read import read_audio
from ssvd_asr.decoding.options import GREEDY, DecodingOptions
from tests.devices import DEVICES

CLEAR = 0.3  # nats: some fifty roundings to bfloat16 of a log-probability of one

Clip = tuple[str, str | None, str]  # audio, domain, what greedy decoding in float32 makes of it


@pytest.fixture(scope="module")
def clear() -> list[Clip]:
    """The goldens of either domain, by the domain and by the base, that were decided clearly."""
    asked = [
        (clip["audio"], asked, clip["domain" if asked else "base"])
        for domain, row in json.loads(GOLDENS.read_text(encoding="utf-8"))["domains"].items()
        for clip in row["clips"]
        for asked in (domain, None)
    ]
    found = [(audio, domain, golden["text"]) for audio, domain, golden in asked if golden["margin"] >= CLEAR]
    assert {domain for _, domain, _ in found} == {"child", "scottish", None}
    return found


@pytest.mark.parametrize("device", DEVICES)
def test_greedy_decoding_says_the_same(tmp_path: Path, clear: Sequence[Clip], device: str) -> None:
    assert _heard(tmp_path, device, "bfloat16", GREEDY, clear) == [text for _, _, text in clear]


@pytest.mark.parametrize("device", DEVICES)
def test_a_beam_with_ctc_says_nearly_always_the_same(
    tmp_path: Path, clear: Sequence[Clip], device: str
) -> None:
    some, search = clear[::2], DecodingOptions("beam", beam_size=2, ctc_weight=0.3)
    half, whole = (_heard(tmp_path, device, dtype, search, some) for dtype in ("bfloat16", "float32"))
    # What decides between the hypotheses of a beam is not told, and may be narrow.
    assert sum(one == other for one, other in zip(half, whole, strict=True)) >= len(some) - 2


def _heard(empty: Path, device: str, dtype: str, search: DecodingOptions, clips: Sequence[Clip]) -> list[str]:
    """What the engine answers to all clips, asked at once."""
    recogniser = ModelRecogniser.load("owsm-nano", device=device, dtype=dtype, search=search)
    # The goldens are of whole clips.
    recogniser.longest_piece_samples, recogniser.bears_silences = recogniser.window_samples, True
    engine = engine_over(recogniser, ServerSettings(), AdapterStore(empty))
    try:
        replies = [
            engine.submit(Request(read_audio(PACKAGED / audio), domain=domain)) for audio, domain, _ in clips
        ]
        return [reply.result(300).text for reply in replies]
    finally:
        engine.close(30)
