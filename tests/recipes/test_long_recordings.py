"""Long recordings: errors are put down to their clips, and a joined recording says what its parts say."""

from __future__ import annotations

import numpy as np
import pytest

from adapters_store.packaged import PACKAGED, builtins
from recipes.espeak.joined import KINDS, Clip, record
from recipes.espeak.long_errors import clip_errors as errors_of
from recipes.espeak.long_errors import compare, recording_errors
from recipes.espeak.long_recordings import cut_now, measure
from recipes.espeak.recording_decoder import Decoder
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.options import DecodingOptions


def clip(number: int, text: str, duration_s: float = 1.0) -> Clip:
    wave = np.sin(np.arange(int(duration_s * SAMPLE_RATE)) / 20).astype(np.float32)
    return Clip(f"adult-test-{number:06d}", text, wave)


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.inner])
def test_a_recording_holds_its_clips_in_order(kind: str) -> None:
    clips = [clip(number, "a") for number in range(100)]
    recordings = list(record(KINDS[kind], clips))
    said = [each for recording in recordings for each in recording.clips]
    assert said == clips[: len(said)]
    assert len(said) >= 40
    for recording in recordings:
        starts = [start for start, _ in recording.spans]
        assert starts == sorted(starts)
        assert recording.spans[-1][1] == len(recording.wave)


def test_errors_belong_to_the_clip_in_whose_words_they_fall() -> None:
    clips = [clip(0, "the cat sat"), clip(1, "on my mat")]
    (recording,) = record(KINDS["hour"], clips)
    errors = recording_errors(recording, "the cat sat on on your mat")
    assert [errors[each.name].wrong for each in clips] == [0, 2]
    singly = errors_of(clips, ["the cat sat", "on my mat"])
    found = compare(errors, singly)
    assert found["difference"] == pytest.approx(2 / 6)
    assert found["low"] <= found["difference"] <= found["high"]


def test_a_joined_recording_says_what_its_parts_say() -> None:
    base = load_base()
    factors = factorize(base)
    cores = load_adapter(builtins(PACKAGED)["scottish"].path, base, factors).adapter.cores(base.dtype)
    decoder = Decoder(base, adapt(base.network, factors), cores, DecodingOptions("beam"))
    waves = [
        read_audio(path) for path in sorted((PACKAGED / "scottish" / "samples").glob("*-test-*.opus"))[:4]
    ]
    texts = decoder.texts(waves)
    clips = [
        Clip(f"scottish-test-{n}", text, wave)
        for n, (text, wave) in enumerate(zip(texts, waves, strict=True))
    ]
    for kind in ("apart", "noise"):
        recordings = list(record(KINDS[kind], clips * 4))
        found = measure(
            decoder,
            recordings,
            lambda wave: cut_now(base, wave),
            {"": errors_of(clips, texts), "_cut": errors_of(clips, texts)},
        )
        assert found["difference_cut"] == found["difference"]
        assert found["wer"] < 0.1, kind
