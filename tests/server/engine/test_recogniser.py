"""OWSM behind the engine: the words that the library gives, and a base without a trace of any domain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from adapters_store.store import AdapterStore
from server.engine import model_recogniser as recogniser_module
from server.engine.engine import Engine
from server.engine.messages import Request
from server.engine.model_recogniser import ModelRecogniser
from server.engine.start import engine_over
from server.settings import ServerSettings
from ssvd_asr.audio.segment import find_spans
from ssvd_asr.base.prompt import IDENTIFIED, Prompt
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.errors import AdapterError, KeywordError
from ssvd_asr.mixing.compression import Compression
from ssvd_asr.transcription import transcribe
from tests.random_owsm import write_random_owsm
from tests.server.fakes import write_adapter
from tests.server.real import write_random_adapter
from tests.speechlike import babble, phrases

WAVE = babble(2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_owsm(tmp_path_factory.mktemp("owsm") / "tiny")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def real(folder: Path, cache: Path) -> ModelRecogniser:
    return ModelRecogniser.load(str(folder), device="cpu", dtype="auto", cache_dir=cache)


@pytest.fixture(scope="module")
def real_store(folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> AdapterStore:
    root = tmp_path_factory.mktemp("store")
    store = AdapterStore(root / "published", builtin=root / "none")
    store.publish("child", write_random_adapter(root / "a", folder, cache, seed=1))
    store.publish("ward", write_random_adapter(root / "c", folder, cache, seed=2))
    store.publish("foreign", write_adapter(root / "b", 1))
    return store


@pytest.fixture
def running(real: ModelRecogniser, real_store: AdapterStore) -> Iterator[Engine]:
    engine = engine_over(real, ServerSettings(), real_store)
    yield engine
    engine.close(timeout_s=30)


def test_a_domain_changes_the_words_and_the_base_is_as_it_was(running: Engine, real: ModelRecogniser) -> None:
    before = transcribe(real._base, [WAVE])[0]
    texts = [running.submit(Request(WAVE, domain=d)).result(60).text for d in ("child", None, "child", None)]
    assert texts[0] == texts[2] != texts[1] == texts[3] == " ".join(before.text.split())
    after = transcribe(real._base, [WAVE])[0]
    assert after == before  # tokens and score, to the bit


def test_the_engine_says_what_the_library_says_with_the_same_cores(
    running: Engine, real: ModelRecogniser, real_store: AdapterStore
) -> None:
    version = real_store.resolve("child")
    reply = running.submit(Request(WAVE, domain="child")).result(60)
    cores = real.read_adapter(version).expand("cpu", torch.float32)
    alone = transcribe(real._base, [WAVE], adapted=real._adapted, cores=cores)[0]
    assert reply.text == alone.text.strip()
    assert reply.provenance.adapter_sha256 == version.sha256
    assert reply.provenance.base_digest == real.digest


def test_a_previous_text_stands_before_the_first_piece_only(running: Engine, real: ModelRecogniser) -> None:
    said = "the small boat turned slowly"
    wave = np.concatenate([WAVE, np.zeros(3 * 16_000, np.float32), WAVE])
    span, _ = find_spans(wave, real.window_samples)
    told_wave = wave[span.start : span.stop]
    asked = [Request(wave, previous_text=text) for text in (said, None)]
    told, plain = (reply.result(60) for reply in [running.submit(each) for each in asked])
    # The words of random weights hardly change; how probable they are does.
    first, second = ([reply.segments[index].avg_logprob for reply in (told, plain)] for index in (0, 1))
    assert second[0] == pytest.approx(second[1], abs=1e-5)
    assert abs(first[0] - first[1]) > 1e-4
    (alone,) = transcribe(real._base, [told_wave], prompts=[Prompt(previous_text=said)])
    hypothesis = alone.hypothesis
    assert first[0] == pytest.approx(hypothesis.score / (len(hypothesis.token_ids) + 1), abs=1e-5)


def test_times_of_a_later_piece_are_times_of_the_request(running: Engine) -> None:
    wave = phrases(2, 2.5)
    # Random weights may give a stretch no times at all; without times each stretch is one segment.
    reply = running.submit(Request(wave)).result(60)
    starts = [segment.start_s for segment in reply.segments]
    assert starts == sorted(starts)
    assert all(0 <= s.start_s <= s.end_s <= reply.duration_s for s in reply.segments)
    assert any(start > 5 for start in starts), "the second stretch lies beyond the silence"


def test_an_adapter_of_another_base_is_refused_by_digest(running: Engine) -> None:
    with pytest.raises(AdapterError, match="made for base 'fake-owsm'"):
        running.submit(Request(WAVE, domain="foreign"))


def test_a_digest_is_checked_once_however_many_others_are_read_between(
    real: ModelRecogniser, real_store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recogniser_module, "MAX_LAYOUTS", 1)
    real._known.clear()
    real._layouts.clear()
    checked: list[int] = []
    check = ModelRecogniser._checked
    monkeypatch.setattr(ModelRecogniser, "_checked", lambda of, data: (checked.append(1), check(of, data))[1])
    versions = [real_store.resolve(name) for name in ("child", "ward")]
    first, second = ([real.read_adapter(each) for each in versions] for _ in range(2))
    assert len(checked) == 2
    assert len(real._layouts) == 1
    for one, again in zip(first, second, strict=True):
        cores = again.expand("cpu", torch.float32)
        for name, core in one.expand("cpu", torch.float32).items():
            assert torch.equal(core, cores[name])


def test_a_share_of_the_basis_serves_what_needs_no_more_and_refuses_the_rest(
    folder: Path, cache: Path, real: ModelRecogniser, real_store: AdapterStore
) -> None:
    version = real_store.resolve("child")
    spans, layers = real.read_adapter(version).ks, real._adapted.layers
    needed = max(k / min(layers[name].weight.shape) for name, k in spans.items())
    told = []
    for share in (needed, needed / 2):
        some = ModelRecogniser.load(
            str(folder), device="cpu", dtype="float32", cache_dir=cache, basis_share=share
        )
        held = sum(layer.ut.numel() for layer in some._adapted.layers.values())
        assert held < sum(layer.ut.numel() for layer in layers.values())
        engine = engine_over(some, ServerSettings(), real_store)
        try:
            told.append(engine.submit(Request(WAVE, domain="child")).result(60).text)
        except AdapterError as refusal:
            told.append(str(refusal))
        finally:
            engine.close(timeout_s=30)
    whole = transcribe(
        real._base, [WAVE], adapted=real._adapted, cores=real.read_adapter(version).expand("cpu", real.dtype)
    )
    assert told[0] == whole[0].text.strip()
    assert "(SSVD_BASIS_SHARE)" in told[1]


def test_no_weight_is_touched_and_nothing_is_loaded_again(running: Engine, real: ModelRecogniser) -> None:
    weights = {name: tensor.data_ptr() for name, tensor in real._base.network.named_parameters()}
    copies = {name: tensor.clone() for name, tensor in real._base.network.named_parameters()}
    for domain in ("child", None, "child"):
        running.submit(Request(WAVE, domain=domain)).result(60)
    for name, tensor in real._base.network.named_parameters():
        assert tensor.data_ptr() == weights[name]
        assert torch.equal(tensor, copies[name])


def test_bfloat16_serves_with_the_factors_of_float32(
    folder: Path, cache: Path, real_store: AdapterStore
) -> None:
    half = ModelRecogniser.load(str(folder), device="cpu", dtype="bfloat16", cache_dir=cache)
    cores = half.read_adapter(real_store.resolve("child")).expand(half.device, half.dtype)
    assert {core.dtype for core in cores.values()} == {torch.bfloat16}


def test_keywords_need_a_search_that_follows_them(real: ModelRecogniser) -> None:
    real.check_keywords(["hill"])
    for method in ("greedy", "ctc"):
        search = DecodingOptions(method)  # type: ignore[arg-type]  # of a loop over literals
        other = ModelRecogniser(real._base, real._factors, real._adapted, search=search)
        other.check_keywords([])
        with pytest.raises(KeywordError, match="SSVD_SEARCH"):
            other.check_keywords(["hill"])
    with pytest.raises(KeywordError, match="'#'"):
        real.check_keywords(["hill#"])


def test_rows_with_keywords_are_found_by_a_beam_and_the_others_stay(running: Engine) -> None:
    plain = running.submit(Request(WAVE, domain="child")).result(60)
    asked = [
        running.submit(Request(WAVE, domain="child", keywords=keywords, timestamps=timestamps))
        for keywords, timestamps in (((), False), (("slow hill", "boat"), False), (("boat",), True))
    ]
    beside, given, timed = [each.result(60) for each in asked]
    assert (beside.text, beside.decoding) == (plain.text, plain.decoding)
    assert {piece.search for piece in (*given.decoding, *timed.decoding)} == {"beam"}


def test_languages_are_those_of_the_token_list(real: ModelRecogniser) -> None:
    assert "<eng>" in real.languages
    assert "<tlh>" not in real.languages


def test_a_language_left_to_the_base_is_what_it_says_first_with_its_domain(
    real: ModelRecogniser, running: Engine
) -> None:
    assert real.identifies_language
    cores = real.read_adapter(running.domains.store.resolve("child")).expand("cpu", torch.float32)
    tokens = real._base.tokens
    identified = set()
    for seed in range(4):
        wave = babble(2.0, seed=seed)
        autos = [running.submit(Request(wave, domain=each, language=IDENTIFIED)) for each in ("child", None)]
        replies = [each.result(60) for each in autos]  # before the network is used beside the engine
        for auto, domain in zip(replies, ("child", None), strict=True):
            with real._adapted.using(cores if domain else None), torch.no_grad():
                encoded = real._base.encode([wave])
                scores, _ = real._base.network.decoder(
                    encoded, torch.tensor([encoded.size(1)]), torch.tensor([[tokens.sos]]), torch.tensor([1])
                )
            likelier = max(("<eng>", "<nld>"), key=lambda each: float(scores[0, -1, tokens.id(each)]))
            assert f"<{auto.language}>" == likelier
            named = running.submit(Request(wave, domain=domain, language=likelier)).result(60)
            assert (auto.text, auto.warnings) == (named.text, named.warnings)
            identified.add(likelier)
    assert identified  # the random base may have a favourite


def test_languages_are_the_codes_and_neither_a_task_nor_a_control(real: ModelRecogniser) -> None:
    assert tuple(real._base.tokens.languages) == ("<eng>", "<nld>")


def test_a_beam_through_the_engine_is_the_librarys_beam_row_by_row(
    folder: Path, cache: Path, real_store: AdapterStore
) -> None:
    searching = ModelRecogniser.load(
        str(folder),
        device="cpu",
        dtype="float32",
        cache_dir=cache,
        search=DecodingOptions("beam", beam_size=4, ctc_weight=0.3),
    )
    engine = engine_over(searching, ServerSettings(), real_store)
    cores = searching.read_adapter(real_store.resolve("child")).expand("cpu", torch.float32)
    try:
        replies = [engine.submit(Request(WAVE, domain=domain)) for domain in ("child", None)]
        texts = [reply.result(60).text for reply in replies]
        timed = engine.submit(Request(WAVE, timestamps=True)).result(60)
    finally:
        engine.close(timeout_s=30)
    expected = [
        transcribe(
            searching._base,
            [WAVE],
            adapted=searching._adapted,
            cores=each,
            options=DecodingOptions("beam", beam_size=4, ctc_weight=0.3),
        )
        for each in (cores, None)
    ]
    assert texts == [" ".join(found[0].text.split()) for found in expected]
    assert timed.text == texts[1]  # times change no word
    assert [word.word for word in timed.words] == timed.text.split()


def test_the_bases_own_times_come_where_the_setting_asks_for_them(
    folder: Path, cache: Path, real_store: AdapterStore
) -> None:
    own = ModelRecogniser.load(
        str(folder),
        device="cpu",
        dtype="float32",
        cache_dir=cache,
        search=DecodingOptions("beam", beam_size=4, ctc_weight=0.3),
        times="base",
    )
    engine = engine_over(own, ServerSettings(), real_store)
    try:
        timed = engine.submit(Request(WAVE, timestamps=True)).result(60)
    finally:
        engine.close(timeout_s=30)
    prompt = Prompt("<eng>", "<asr>", True, audio_s=len(WAVE) / 16_000)
    (plain,) = transcribe(own._base, [WAVE], prompts=[prompt], options=DecodingOptions("beam", 4, 0.0))
    assert timed.text == " ".join(plain.text.split())
    assert [segment.text for segment in timed.segments] == [each.text for each in plain.segments]


def test_a_compressed_core_serves_what_it_keeps_and_a_domain_that_loses_more_is_refused(
    folder: Path, cache: Path, real_store: AdapterStore
) -> None:
    whole = ModelRecogniser.load(str(folder), device="cpu", dtype="float32", cache_dir=cache)
    cores = whole.read_adapter(real_store.resolve("child")).expand("cpu", torch.float32)
    k = max(len(core) for core in cores.values())

    def serve(rank: int, error: float) -> tuple[str, int]:
        settings = ServerSettings(compressed_rank=rank, compressed_max_error=error)
        held = ModelRecogniser.load(
            str(folder), device="cpu", dtype="float32", cache_dir=cache, compression=settings.compression
        )
        engine = engine_over(held, settings, real_store)
        try:
            text = engine.submit(Request(WAVE, domain="child")).result(60).text
            stack = held.make_stack(2, {name: len(core) for name, core in cores.items()})
            return text, stack.slot_nbytes
        finally:
            engine.close(timeout_s=30)

    rank = (k - 1) // 2
    paid = {name: core for name, core in cores.items() if 2 * rank < len(core)}
    held = {name: Compression(rank, 0.9).split(name, core) for name, core in paid.items()}
    products = {**cores, **{name: left @ right for name, (left, right) in held.items()}}
    said = transcribe(whole._base, [WAVE], adapted=whole._adapted, cores=products)[0].text
    text, nbytes = serve(rank, 0.9)
    assert text == " ".join(said.split())
    assert nbytes == 4 * sum(min(2 * len(c) * rank, len(c) ** 2) for c in cores.values())
    with pytest.raises(AdapterError, match=r"loses .* the limit is 1\.00e-03"):
        serve(1, 0.001)
    exact = transcribe(whole._base, [WAVE], adapted=whole._adapted, cores=cores)[0].text
    text, nbytes = serve((k + 1) // 2, 0.001)  # at which every core is whole, so nothing is lost
    assert text == " ".join(exact.split())
    assert nbytes == 4 * sum(core.numel() for core in cores.values())
