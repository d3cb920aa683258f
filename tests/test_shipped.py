"""What ships with the package: the embedded base, its two domains, and the figures that are told of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import ssvd_asr
from adapters_store.packaged import PACKAGED, builtins
from recipes.espeak.results import GAP_TARGET, RESULTS, table
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.canary import check_publishable
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.audio.read import read_audio
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.scoring import score
from ssvd_asr.transcription import transcribe

DOMAINS = ("child", "scottish")
CLIPS = 40  # of each domain: all that ship
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return load_base()


@pytest.fixture(scope="module")
def factors(base: BaseModel) -> Mapping[str, LayerFactors]:
    return factorize(base, progress=False)


@pytest.fixture(scope="module")
def adapted(base: BaseModel, factors: Mapping[str, LayerFactors]) -> AdaptedModel:
    return adapt(base.network, factors)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads((RESULTS / "nano.json").read_text(encoding="utf-8"))


def test_the_base_is_at_most_16_mb() -> None:
    folder = Path(ssvd_asr.__file__).parent / "base" / "nano"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16 * MEGABYTE


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_adapter_is_under_1_mb_and_passes_what_publishing_asks(
    base: BaseModel, factors: Mapping[str, LayerFactors], adapted: AdaptedModel, domain: str
) -> None:
    version = builtins(PACKAGED)[domain]
    assert version.size_bytes < MEGABYTE
    check_publishable(load_adapter(version.path, base, factors), adapted, base)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_domain_hears_its_clips_better_than_the_base(
    base: BaseModel, factors: Mapping[str, LayerFactors], adapted: AdaptedModel, domain: str
) -> None:
    folder = PACKAGED / domain / "samples"
    lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == CLIPS
    entries = [json.loads(line) for line in lines]
    waves = [read_audio(folder / entry["audio"]) for entry in entries]
    words = [entry["text"] for entry in entries]
    loaded = load_adapter(builtins(PACKAGED)[domain].path, base, factors)
    by_base = [t.text for t in transcribe(base, waves)]
    by_domain = [
        t.text for t in transcribe(base, waves, adapted=adapted, cores=loaded.adapter.cores(base.dtype))
    ]
    assert [t.text for t in transcribe(base, waves)] == by_base  # a domain leaves nothing behind
    assert score(words, by_domain).wer < score(words, by_base).wer


def test_the_figures_are_of_what_ships(base: BaseModel, results: dict[str, Any]) -> None:
    assert results["base_digest"] == base.digest
    shipped = {name: version.sha256 for name, version in builtins(PACKAGED).items()}
    assert {name: row["adapter_sha256"] for name, row in results["domains"].items()} == shipped


def test_the_page_of_results_is_made_from_its_file(results: dict[str, Any]) -> None:
    assert (RESULTS / "nano.md").read_text(encoding="utf-8") == table(results)


def test_the_figures_reach_what_was_promised(results: dict[str, Any]) -> None:
    assert results["adult"]["wer"] <= 0.04
    assert results["adult"]["loops"] == 0
    assert 0.25 <= results["domains"]["child"]["base"]["wer"] <= 0.70
    assert results["domains"]["scottish"]["base"]["wer"] >= 0.15
    for row in results["domains"].values():
        assert row["base"]["utterances"] >= 400
        assert row["gap_closed"] >= GAP_TARGET
        assert row["parameter_share"] <= 0.05


def test_a_request_without_a_domain_is_untouched(results: dict[str, Any]) -> None:
    plain, loaded = results["adult"], results["adult_with_adapters_loaded"]
    counts = ("substitutions", "deletions", "insertions", "reference_words", "wer_raw")
    assert [plain[name] for name in counts] == [loaded[name] for name in counts]
