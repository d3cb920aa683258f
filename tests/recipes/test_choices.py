"""What the recipe computes from decoded rows is what the server's engine chooses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters_store.packaged import PACKAGED
from adapters_store.store import AdapterStore
from recipes.espeak.choices import BASE, Row, _figures, choice, fit, wer
from server.auto.candidates import Candidates, posteriors
from server.auto.wish import AutoWish
from server.auto_options import AutoOptions
from server.engine.messages import Request
from server.engine.start import start_engine
from server.settings import ServerSettings
from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import SAMPLE_RATE, read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.basis.cache import factorize
from ssvd_asr.transcription import transcribe

DOMAINS = ("child", "scottish")
CLIPS = 4  # of each domain


def row(likely: dict[str, float], **said: list[float]) -> Row:
    return {"domain": "a", "own": "a", "length": "sentences", "likely": likely, "said": said}


def test_the_engine_chooses_what_the_recipe_computes(tmp_path: Path) -> None:
    base = load_base()
    factors = factorize(base)
    adapted = adapt(base.network, factors)
    store = AdapterStore(tmp_path / "store")
    cores = {BASE: None} | {
        name: load_adapter(store.resolve(f"{name}@1").path, base, factors).adapter.cores() for name in DOMAINS
    }
    candidates = Candidates(store, base.name, base.digest, base.voice_probe).of(AutoWish())
    engine = start_engine(ServerSettings(store=tmp_path / "store", hints="never"))
    compared = 0
    try:
        for name in DOMAINS:
            folder = PACKAGED / name / "samples"
            for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()[:CLIPS]:
                entry = json.loads(line)
                wave = read_audio(folder / entry["audio"])
                found = posteriors(
                    candidates, base.voice_points([wave]).double().numpy(), [len(wave) / SAMPLE_RATE]
                )
                said = {
                    each: _figures(entry["text"], transcribe(base, [wave], adapted=adapted, cores=own)[0])
                    for each, own in cores.items()
                }
                likely = {name or BASE: value for name, value in found.items()}
                for sure in (0.9, 2.0):
                    options = AutoOptions(sure=sure)
                    engine.auto_options = options
                    reply = engine.submit(Request(wave, auto=AutoWish())).result(60)
                    expected, by_words = choice(row(likely, **said), options)
                    assert (reply.provenance.domain or BASE) == expected
                    assert reply.chosen[0].compared is by_words
                    compared += by_words
    finally:
        engine.close(timeout_s=5)
    assert compared >= len(DOMAINS) * CLIPS


@pytest.mark.parametrize(
    ("likely", "expected"),
    [({"a": 0.95, BASE: 0.05}, ("a", False)), ({"a": 0.5, BASE: 0.5}, (BASE, True))],
)
def test_the_sure_one_is_taken_and_else_the_most_probable_words(
    likely: dict[str, float], expected: tuple[str, bool]
) -> None:
    said = {"a": [3.0, 4.0, 5.0, -9.0, -9.0], BASE: [0.0, 4.0, 5.0, -1.0, -1.0]}
    assert choice(row(likely, **said), AutoOptions()) == expected


def test_the_fitted_options_compare_least_among_those_with_the_fewest_errors() -> None:
    good, bad = [0.0, 10.0, 5.0, -1.0, -1.0], [5.0, 10.0, 5.0, -9.0, -9.0]
    rows = [row({"a": 0.97, BASE: 0.03}, a=good, base=bad), row({"a": 0.85, BASE: 0.15}, a=bad, base=good)]
    options = fit(rows)
    assert wer(rows, options, "auto") == 0.0
    assert options.sure == 0.9
