"""Rows of a batch belong to different domains, and each is what it is alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.canary import check_publishable, seal_adapter
from ssvd_asr.adapter.merge import merge_adapter
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.decoding.options import CHECKED, GREEDY, DecodingOptions
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.transcription import Transcript, transcribe
from tests.devices import DEVICES
from tests.ssvd_asr.base.whisper.test_generate import waves
from tests.ssvd_asr.toy import train_at_random

ROWS = [0, 2, 1, 1, 0, 2]  # slots; 0 is the base
BEAM = DecodingOptions("beam", beam_size=3)


@dataclass(frozen=True)
class Adapted:
    base: BaseModel
    model: AdaptedModel
    stack: CoreStack
    factors: dict[str, LayerFactors]
    adapters: Sequence[Adapter]

    def say(self, places: Sequence[int], slots: Sequence[int], options: DecodingOptions) -> list[Transcript]:
        audio = waves(len(ROWS))
        return transcribe(
            self.base, [audio[place] for place in places], adapted=self.model, stack=self.stack, rows=slots,
            prompts=[PROMPTS[place] for place in places], options=options, word_times=True,
        )  # fmt: skip


PROMPTS = [Prompt(), Prompt("<nld>"), Prompt(previous_text="the boat"), Prompt("<auto>"), Prompt(), Prompt()]


@pytest.fixture(params=DEVICES)
def adapted(request: pytest.FixtureRequest, whisper_folder: Path, tmp_path: Path) -> Adapted:
    base = load_base(whisper_folder, device=request.param, dtype="float32")
    factors = factorize(base, tmp_path, progress=False)
    adapters = [train_at_random(Adapter.new(factors, p=0.5), 0.2, seed) for seed in (1, 2)]
    model = adapt(base.network, factors)
    stack = CoreStack(model.layers, 3, max(factor.rank for factor in factors.values()))
    for slot, adapter in enumerate(adapters, 1):
        stack.write(slot, {name: core.detach() for name, core in adapter.cores().items()})
    return Adapted(base, model, stack, factors, adapters)


def same(one: Transcript, other: Transcript) -> bool:
    times = [(word.word, word.start_s, word.end_s) for word in one.words]
    others = [(word.word, word.start_s, word.end_s) for word in other.words]
    return one.hypothesis.token_ids == other.hypothesis.token_ids and times == others


@pytest.mark.parametrize("options", [GREEDY, BEAM, CHECKED], ids=lambda each: each.method)
def test_each_row_of_a_mixed_batch_is_what_it_is_alone(adapted: Adapted, options: DecodingOptions) -> None:
    together = adapted.say(range(len(ROWS)), ROWS, options)
    for place, slot in enumerate(ROWS):
        (alone,) = adapted.say([place], [slot], options)
        assert same(together[place], alone), (place, slot)
    base = adapted.say(range(len(ROWS)), [0] * len(ROWS), options)
    assert [same(one, other) for one, other in zip(together, base, strict=True)].count(True) < len(ROWS)


def test_cores_of_each_row_give_what_slots_give(adapted: Adapted) -> None:
    names = list(adapted.model.layers)
    cores = [adapter.cores() for adapter in adapted.adapters]
    stacked = {
        name: torch.stack([torch.zeros_like(cores[0][name]) if not s else cores[s - 1][name] for s in ROWS])
        for name in names
    }
    by_cores = transcribe(
        adapted.base, waves(len(ROWS)), adapted=adapted.model, cores=stacked, prompts=PROMPTS, options=BEAM,
        word_times=True,
    )  # fmt: skip
    by_slots = adapted.say(range(len(ROWS)), ROWS, BEAM)
    assert all(same(one, other) for one, other in zip(by_cores, by_slots, strict=True))


def test_attention_and_feed_forward_of_both_halves_are_adapted_and_the_tied_output_is_not(
    tiny_whisper: BaseModel,
) -> None:
    linears = match_layers(tiny_whisper.network, tiny_whisper.linears)
    assert len(linears) == 2 * (4 + 2) + 2 * (8 + 2)  # 96 in whisper-base
    others = {name for name, m in tiny_whisper.network.named_modules() if isinstance(m, torch.nn.Linear)}
    assert others - linears.keys() == {"proj_out"}
    assert {name.split(".")[1] for name in linears} == {"encoder", "decoder"}


def test_an_adapter_file_carries_its_canary_and_merges_into_a_folder_that_transformers_loads(
    adapted: Adapted, whisper_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    seal_adapter(path, adapted.adapters[0], adapted.model, adapted.base, adapted.factors)
    loaded = load_adapter(path, adapted.base, adapted.factors)
    assert check_publishable(loaded, adapted.model, adapted.base).keys() == {"encoder", "logits"}
    under = transcribe(
        adapted.base, waves(3), adapted=adapted.model, cores=loaded.adapter.cores(), options=GREEDY
    )
    adapted.model.restore()
    merged = merge_adapter(adapted.base, loaded, adapted.factors)
    folder = tmp_path / "merged"
    merged.export(folder)
    again = load_base(folder, device=adapted.base.device.type)
    assert again.digest == merged.digest != adapted.base.digest
    assert load_base(whisper_folder, device="cpu").digest == adapted.base.digest
    texts = [each.text for each in transcribe(again, waves(3), options=GREEDY)]
    assert texts == [each.text for each in under]
    from transformers import WhisperForConditionalGeneration

    theirs = WhisperForConditionalGeneration.from_pretrained(folder)
    state = again.network.state_dict()
    assert all(torch.equal(tensor, state[name].cpu()) for name, tensor in theirs.state_dict().items())
