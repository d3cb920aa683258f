"""Waves in, words out, through the one path that everything uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvd_asr.adapted_model import adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.adapter.write import describe_adapter, save_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.beam import beam
from ssvd_asr.decoding.best_path import best_path
from ssvd_asr.decoding.greedy import greedy
from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.decoding.options import GREEDY, DecodingOptions
from ssvd_asr.errors import AudioError, AudioTooLongError, SsvdError
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.transcription import transcribe
from tests.random_owsm import LONG_TEXT, waves
from tests.ssvd_asr.judged import SAFE_MARGIN


def test_five_lines_of_python_from_a_file_to_words(tiny_owsm_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "domain.safetensors"
    _save_random_adapter(tiny_owsm_folder, file, tmp_path)
    wave = waves(1)[0]

    base = load_base(tiny_owsm_folder, device="cpu")
    adapted = adapt(base.network, factorize(base, tmp_path))
    domain = load_adapter(file, base)
    with_domain = transcribe(base, [wave], adapted=adapted, cores=domain.adapter.cores())[0]

    without = transcribe(base, [wave], adapted=adapted)[0]
    plain = transcribe(load_base(tiny_owsm_folder, device="cpu"), [wave])[0]
    assert without == plain  # an adapted model without cores is exactly the base
    assert with_domain.hypothesis.token_ids != plain.hypothesis.token_ids


def _save_random_adapter(folder: Path, file: Path, cache: Path) -> None:
    base = load_base(folder, device="cpu")
    factors = factorize(base, cache, progress=False)
    adapter = Adapter.new(factors, k=5)
    generator = torch.Generator().manual_seed(0)
    adapter.load_state({n: 0.4 * torch.randn(t.shape, generator=generator) for n, t in adapter.state.items()})
    save_adapter(file, adapter, metadata=describe_adapter(adapter, base, factors))


def test_padding_is_the_models_business(tiny_base: BaseModel) -> None:
    wave = waves(1)[0][:20_000]
    padded = np.concatenate([wave, np.zeros(28_000, dtype=np.float32)])
    assert transcribe(tiny_base, [wave])[0] == transcribe(tiny_base, [padded])[0]


def test_longer_than_the_window_is_refused_with_both_lengths(tiny_base: BaseModel) -> None:
    with pytest.raises(AudioTooLongError, match=r"3\.50 s is longer than the window of 3 s.*speech_length"):
        transcribe(tiny_base, [np.zeros(56_000, dtype=np.float32)])


def test_no_audio_and_stereo_are_refused(tiny_base: BaseModel) -> None:
    with pytest.raises(AudioError, match="0 waves"):
        transcribe(tiny_base, [])
    with pytest.raises(AudioError, match=r"shape \(100, 2\)"):
        transcribe(tiny_base, [np.zeros((100, 2), dtype=np.float32)])


@pytest.mark.parametrize("samples", [0, 1])
def test_next_to_nothing_has_a_transcript(tiny_base: BaseModel, samples: int) -> None:
    assert len(transcribe(tiny_base, [np.zeros(samples, dtype=np.float32)])) == 1


def test_segments_come_where_times_are_asked_for(tiny_base: BaseModel) -> None:
    audio = waves(3)
    assert all(found.segments == () for found in transcribe(tiny_base, audio))
    timed = transcribe(tiny_base, audio, prompts=[Prompt(timestamps=True)] * 3)
    assert timed == transcribe(tiny_base, audio, timestamps=True)
    assert any(found.segments for found in timed)
    for found in timed:
        for segment in found.segments:
            assert 0 <= segment.start_s <= segment.end_s <= tiny_base.config.window_s


def test_cores_that_would_do_nothing_are_refused(
    tiny_base: BaseModel, tiny_owsm_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SsvdError, match="without the adapted model"):
        transcribe(tiny_base, waves(1), cores={})
    other = load_base(tiny_owsm_folder, device="cpu")
    adapted = adapt(other.network, factorize(other, tmp_path, progress=False))
    with pytest.raises(SsvdError, match="not the network of base"):
        transcribe(tiny_base, waves(1), adapted=adapted)


@pytest.mark.parametrize(
    "options",
    [
        GREEDY,
        DecodingOptions("beam", 3, 0.3),
        DecodingOptions("checked", 3, 0.3, doubt_nats=20.0),  # of random words: some rows are decoded again
        DecodingOptions("ctc"),
    ],
    ids=["greedy", "beam", "checked", "ctc"],
)
def test_a_batch_of_domains_and_prompts_gives_each_row_its_own_words(
    tiny_base: BaseModel, tmp_path: Path, options: DecodingOptions
) -> None:
    adapted = adapt(tiny_base.network, factorize(tiny_base, tmp_path, progress=False))
    stack = CoreStack(adapted.layers, 3, 6)
    generator = torch.Generator().manual_seed(2)
    for slot in (1, 2):
        stack.write(slot, {name: 0.4 * torch.randn(5, 5, generator=generator) for name in adapted.layers})
    audio, slots = waves(4), [2, 0, 1, 2]
    prompts = [
        Prompt(),
        Prompt(previous_text="the small boat"),
        Prompt(language="<nld>", previous_text=LONG_TEXT),
        Prompt(),
    ]

    def say(places: Sequence[int], slot: int | None = None) -> list[Hypothesis]:
        found = transcribe(
            tiny_base, [audio[i] for i in places], adapted=adapted, stack=stack,
            rows=[slots[i] if slot is None else slot for i in places],
            prompts=[prompts[i] for i in places], options=options,
        )  # fmt: skip
        return [transcript.hypothesis for transcript in found]

    alone = [say([i])[0] for i in range(4)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0], [1, 1, 3]):
        for place, found in zip(order, say(order), strict=True):
            near_tie = min(found.margin, alone[place].margin) < SAFE_MARGIN
            assert found.token_ids == alone[place].token_ids or near_tie
            assert found.score == pytest.approx(alone[place].score, abs=1e-4) or near_tie
    assert [h.token_ids for h in say(range(4), slot=0)] != [h.token_ids for h in alone]


def test_beam_and_greedy_are_chosen_by_their_settings(tiny_base: BaseModel) -> None:
    audio = waves(2)
    encoded = tiny_base.encode(audio)
    by_beam = transcribe(tiny_base, audio, options=DecodingOptions("beam", 4, 0.5))
    assert [t.hypothesis for t in by_beam] == beam(
        tiny_base, encoded, [Prompt()] * 2, beam_size=4, ctc_weight=0.5
    )
    plain = transcribe(tiny_base, audio, options=GREEDY)
    assert [t.hypothesis for t in plain] == greedy(tiny_base, encoded, [Prompt()] * 2)
    best = transcribe(tiny_base, audio, options=DecodingOptions("ctc"))
    assert [t.hypothesis for t in best] == best_path(tiny_base.ctc_head, encoded, tiny_base.tokens)
    assert [t.search for t in (*by_beam, *plain, *best)] == ["beam"] * 2 + ["greedy"] * 2 + ["ctc"] * 2
    for options, error in (
        (DecodingOptions("beam", 99), r"beam_size=99: must be within 1\.\.20"),
        (DecodingOptions("loud"), "search 'loud' is not one of checked"),  # type: ignore[arg-type]
        (DecodingOptions(doubt_nats=-1), "doubt_nats=-1: must be at least 0"),
        (DecodingOptions(doubt_nats=float("nan")), "doubt_nats=nan: must be at least 0"),
    ):
        with pytest.raises(SsvdError, match=error):
            transcribe(tiny_base, audio, options=options)


def test_a_row_that_ctc_doubts_is_decoded_again_and_says_so(tiny_base: BaseModel) -> None:
    audio = waves(4)
    plain = transcribe(tiny_base, audio, options=GREEDY)
    doubts = sorted(t.doubt_nats for t in plain if t.doubt_nats is not None)
    assert doubts[0] < doubts[-1]
    between = (doubts[1] + doubts[2]) / 2
    checked = transcribe(tiny_base, audio, options=DecodingOptions(doubt_nats=between))
    by_beam = transcribe(tiny_base, audio, options=DecodingOptions("beam"))
    for greedy_row, row, beam_row in zip(plain, checked, by_beam, strict=True):
        assert greedy_row.doubt_nats is not None
        expected = beam_row if greedy_row.doubt_nats > between else greedy_row
        assert (row.text, row.search) == (expected.text, expected.search)
        assert row.doubt_nats == pytest.approx(expected.doubt_nats, abs=1e-3)


def test_a_base_without_a_ctc_head_is_decoded_greedily(
    tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = transcribe(tiny_base, waves(2), options=GREEDY)
    monkeypatch.setitem(tiny_base.network._modules, "ctc", None)
    found = transcribe(tiny_base, waves(2))
    assert [each.text for each in found] == [each.text for each in expected]
    assert [(each.search, each.doubt_nats) for each in found] == [("greedy", None)] * 2


def test_ctc_has_no_say_about_translations_and_times(tiny_base: BaseModel) -> None:
    audio = waves(2)
    prompts = [Prompt(task="<st_nld>"), Prompt(timestamps=True)]
    found = transcribe(tiny_base, audio, prompts=prompts, options=DecodingOptions(doubt_nats=0.0))
    assert [(each.search, each.doubt_nats) for each in found] == [("greedy", None), ("greedy", None)]


def test_a_stack_that_is_told_by_half_is_refused(tiny_base: BaseModel, tmp_path: Path) -> None:
    adapted = adapt(tiny_base.network, factorize(tiny_base, tmp_path, progress=False))
    stack, audio = CoreStack(adapted.layers, 2, 6), waves(2)
    with pytest.raises(SsvdError, match="1 slots for 2 waves"):
        transcribe(tiny_base, audio, adapted=adapted, stack=stack, rows=[1])
    with pytest.raises(SsvdError, match="go together"):
        transcribe(tiny_base, audio, adapted=adapted, stack=stack)
    with pytest.raises(SsvdError, match="a stack was given without the adapted model"):
        transcribe(tiny_base, audio, stack=stack, rows=[0, 1])
    with pytest.raises(SsvdError, match="both cores and a stack"):
        transcribe(tiny_base, audio, adapted=adapted, stack=stack, rows=[0, 1], cores={})


def test_a_network_in_training_mode_is_refused(tiny_base: BaseModel) -> None:
    tiny_base.network.train()
    with pytest.raises(RuntimeError, match="training mode"):
        transcribe(tiny_base, waves(1))
