"""OWSM-CTC: its best path is ESPnet's, in any batch of domains; what needs a decoder is refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.canary import check_publishable, seal_adapter
from ssvd_asr.adapter.merge import merge_adapter
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.base.owsm.ctc_model import TOLD, OwsmCtcModel
from ssvd_asr.base.owsm.export import export_compact
from ssvd_asr.base.prompt import IDENTIFIED, Prompt
from ssvd_asr.basis.cache import factorize
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.decoding.options import DecodingOptions
from ssvd_asr.errors import AudioTooLongError, BaseModelError, SsvdError
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.transcription import Transcript, transcribe
from tests.random_owsm import TINY_CTC, waves, write_random_owsm
from tests.ssvd_asr.toy import train_at_random

PROMPTS = [
    Prompt(),
    Prompt(language="<nld>", previous_text="the small boat turned"),
    Prompt(previous_text="hill"),
    Prompt(IDENTIFIED),
    Prompt(task="<st_nld>"),
]
ROWS = [0, 2, 1, 1, 2]  # slots; 0 is the base


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_owsm(tmp_path_factory.mktemp("ctc") / "tiny-ctc", TINY_CTC, seed=3)


@pytest.fixture
def base(folder: Path) -> OwsmCtcModel:
    loaded = load_base(folder, device="cpu")
    assert isinstance(loaded, OwsmCtcModel)
    return loaded


def _ids(transcripts: Sequence[Transcript]) -> list[tuple[int, ...]]:
    return [each.hypothesis.token_ids for each in transcripts]


@pytest.mark.usefixtures("espnet")
def test_a_batch_of_prompts_says_what_espnet_says_to_each(base: OwsmCtcModel, folder: Path) -> None:
    from espnet2.bin.s2t_inference_ctc import Speech2TextGreedySearch

    audio = waves(len(PROMPTS), TINY_CTC)
    found = transcribe(base, audio, prompts=PROMPTS)
    assert len(set(_ids(found))) == len(PROMPTS)
    assert min(each.hypothesis.margin for each in found) > 1e-4  # none is decided by rounding
    assert {(each.search, each.doubt_nats) for each in found} <= {("ctc", 0.0), ("ctc", None)}
    config, checkpoint = base.export(folder.parent / "exported")  # with absolute paths, as ESPnet wants them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        judge = Speech2TextGreedySearch(config, checkpoint)
    for ours, prompt, wave in zip(found, PROMPTS, audio, strict=True):
        padded = np.pad(wave, (0, base.window.samples - len(wave)))
        # As ids: this BPE model would split the text "<na>" into pieces.
        said = prompt.previous_text
        previous = [base.tokens.na] if said is None else base.tokens.encode(said)
        language = "<nolang>" if prompt.language == IDENTIFIED else prompt.language
        (_, _, ids, text, _), *_ = judge(padded, previous, language, prompt.task)
        assert ours.hypothesis.token_ids == tuple(ids)
        assert ours.text == text


def test_rows_are_what_they_are_alone_in_any_order(base: OwsmCtcModel) -> None:
    audio = waves(len(PROMPTS), TINY_CTC)
    together = transcribe(base, audio[::-1], prompts=PROMPTS[::-1], word_times=True)[::-1]
    for row, found in enumerate(together):
        (alone,) = transcribe(base, [audio[row]], prompts=[PROMPTS[row]], word_times=True)
        assert alone.hypothesis.token_ids == found.hypothesis.token_ids
        assert [(each.start_s, each.end_s) for each in alone.words] == [
            (each.start_s, each.end_s) for each in found.words
        ]


def test_words_are_timed_by_the_audios_own_frames(base: OwsmCtcModel) -> None:
    frames = base.encode(waves(1, TINY_CTC)).shape[1]
    clock = base.clock(frames)
    assert (clock.frame_s, clock.lead_frames) == (0.08, TOLD)
    (found,) = transcribe(base, waves(1, TINY_CTC), word_times=True)
    assert found.words
    assert found.warnings == ()
    assert all(0 <= word.start_s <= word.end_s <= 3.0 for word in found.words)  # type: ignore[operator]


def test_a_language_left_to_the_base_is_the_one_its_frames_say(base: OwsmCtcModel) -> None:
    audio = waves(3, TINY_CTC)
    encoded = base.encode(audio)
    scores = base.network.ctc.log_softmax(encoded).amax(dim=1)  # (B, V)
    eng, nld = (scores[:, base.tokens.languages[each]] for each in ("<eng>", "<nld>"))
    expected = ["<eng>" if one >= other else "<nld>" for one, other in zip(eng, nld, strict=True)]
    assert [each.language for each in transcribe(base, audio, language=IDENTIFIED)] == expected


def test_what_needs_a_decoder_is_refused_by_name(base: OwsmCtcModel) -> None:
    audio = waves(1, TINY_CTC)
    for method in ("checked", "greedy", "beam"):
        with pytest.raises(SsvdError, match=f"search {method}: base 'tiny-ctc' has no decoder; it knows ctc"):
            transcribe(base, audio, options=DecodingOptions(method))  # type: ignore[arg-type]
    with pytest.raises(SsvdError, match="has no decoder and follows no beam"):
        transcribe(base, audio, options=DecodingOptions(beam_size=8))
    with pytest.raises(SsvdError, match="CTC knows no time symbols"):
        transcribe(base, audio, timestamps=True)
    with pytest.raises(SsvdError, match="no token '<xyz>'"):
        transcribe(base, audio, language="<xyz>")
    with pytest.raises(AudioTooLongError, match=r"3\.50 s is longer than the window of 3 s"):
        base.encode([np.zeros(56_000, dtype=np.float32)])


@pytest.fixture
def factors(base: OwsmCtcModel, tmp_path: Path) -> dict[str, LayerFactors]:
    return factorize(base, tmp_path / "factors", progress=False)


@pytest.fixture
def adapters(factors: dict[str, LayerFactors]) -> list[Adapter]:
    return [train_at_random(Adapter.new(factors, p=0.5), 0.2, seed) for seed in (1, 2)]


@pytest.fixture
def model(base: OwsmCtcModel, factors: dict[str, LayerFactors]) -> AdaptedModel:
    return adapt(base.network, factors)


def test_the_linears_of_both_encoders_are_adapted_and_the_ctc_head_is_not(base: OwsmCtcModel) -> None:
    linears = match_layers(base.network, base.linears)
    others = {name for name, m in base.network.named_modules() if isinstance(m, torch.nn.Linear)}
    assert others - linears.keys() == {
        "ctc.ctc_lo", "embed_proj", "prompt_proj", "encoder.conditioning_layer",
    }  # fmt: skip
    assert {name for name in linears if "cross_attn" in name}
    assert {name.split(".")[0] for name in linears} == {"encoder", "prompt_encoder"}


def test_each_row_of_a_mixed_batch_is_what_it_is_alone(
    base: OwsmCtcModel,
    model: AdaptedModel,
    factors: dict[str, LayerFactors],
    adapters: list[Adapter],
) -> None:
    stack = CoreStack(model.layers, 3, max(factor.rank for factor in factors.values()))
    for slot, adapter in enumerate(adapters, 1):
        stack.write(slot, {name: core.detach() for name, core in adapter.cores().items()})
    audio = waves(len(ROWS), TINY_CTC)

    def say(places: Sequence[int], slots: Sequence[int]) -> list[Transcript]:
        return transcribe(
            base, [audio[place] for place in places], adapted=model, stack=stack, rows=slots,
            prompts=[PROMPTS[place] for place in places],
        )  # fmt: skip

    together = say(range(len(ROWS)), ROWS)
    for place, slot in enumerate(ROWS):
        (alone,) = say([place], [slot])
        assert alone.hypothesis.token_ids == together[place].hypothesis.token_ids
    without = say(range(len(ROWS)), [0] * len(ROWS))
    differ = [one != other for one, other in zip(_ids(together), _ids(without), strict=True)]
    assert differ == [slot != 0 for slot in ROWS]


def test_an_adapter_file_carries_its_canary_and_merges_into_what_espnet_reads(
    base: OwsmCtcModel,
    model: AdaptedModel,
    factors: dict[str, LayerFactors],
    adapters: list[Adapter],
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.safetensors"
    seal_adapter(path, adapters[0], model, base, factors)
    loaded = load_adapter(path, base, factors)
    assert check_publishable(loaded, model, base).keys() == {"encoder", "logits"}
    audio = waves(3, TINY_CTC)
    under = transcribe(base, audio, adapted=model, cores=loaded.adapter.cores())
    model.restore()
    merged = merge_adapter(base, loaded, factors)
    config, checkpoint = merged.export(tmp_path / "merged")
    again = load_base("merged", device="cpu", config=config, checkpoint=checkpoint)
    assert again.digest == merged.digest != base.digest
    assert _ids(transcribe(again, audio)) == _ids(under) != _ids(transcribe(base, audio))


def test_all_forms_have_one_digest_which_no_option_is_left_out_of(base: OwsmCtcModel, tmp_path: Path) -> None:
    export_compact(base, tmp_path / "compact")
    assert load_base(tmp_path / "compact", device="cpu").digest == base.digest
    config = tmp_path / "compact/config.yaml"
    whole = config.read_text(encoding="utf-8")
    for one, other in (("attention_heads: 2", "attention_heads: 1"), ("- 1\n", "- 2\n")):
        assert one in whole
        config.write_text(whole.replace(one, other), encoding="utf-8")
        if one == "- 1\n":  # CTC's output is fed back after a layer before the last
            with pytest.raises(BaseModelError, match="encoder_conf"):
                load_base(tmp_path / "compact", device="cpu")
        else:
            assert load_base(tmp_path / "compact", device="cpu").digest != base.digest


def test_bfloat16_is_the_same_model_with_a_float32_front_end(folder: Path, base: OwsmCtcModel) -> None:
    half = load_base(folder, device="cpu", dtype="bfloat16")
    assert half.digest == base.digest
    assert half.network.normalize.mean.dtype == torch.float32
    exact, rounded = base.encode(waves(2, TINY_CTC)), half.encode(waves(2, TINY_CTC))
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.2, rtol=0.2)


def test_a_voice_point_does_not_depend_on_the_others(base: OwsmCtcModel) -> None:
    audio = waves(2, TINY_CTC)
    points = base.voice_points(audio)
    assert base.voice_probe == "owsm-ctc-1-of-2"
    assert torch.equal(points[1:], base.voice_points(audio[1:]))
