"""The recipe for real OWSM is the authors', number for number."""

from __future__ import annotations

import pytest

from training.recipe import NANO, OWSM, WITHOUT_CTC, Method, alpha_for, recipe_for

OWSM_PARAMETERS = 101_180_000
NANO_PARAMETERS = 4_255_064


def test_the_recipe_for_real_owsm_is_the_authors() -> None:
    """espnet, egs2/myst/asr1/conf/tuning/peft_tuning_owsm_ssvd.yaml, read in November 2026."""
    authors = {
        "epochs": 15,  # max_epoch
        "patience": 3,
        "seed": 42,
        "lr": 1e-4,
        "beta1": 0.9,
        "beta2": 0.98,
        "eps": 1e-6,
        "weight_decay": 0.0,
        "schedule": "piecewise",  # piecewiselinearwarmuplr
        "warmup_steps": 1500,
        "batch_utterances": 8,  # batch_size, unsorted
        "accumulation": 4,  # accum_grad
        "min_batches_per_epoch": 2000,  # num_iters_per_epoch
        "max_batches_per_epoch": 2000,
        "padding": "window",  # speech_length: 30
        "initial_silence_s": 30.0,  # speech_init_silence
        "timestamp_share": 0.5,  # time_apply_prob
        "ctc_weight": 0.3,
        "label_smoothing": 0.1,  # lsm_weight
        "dropout": None,  # the base's 0.1 everywhere
        "freq_masks": 2,
        "freq_mask_share": 27 / 80,  # widest, of 80 bins
        "time_masks": 10,
        "time_mask_share": 0.05,
        "normalise_text": False,
    }
    asked = OWSM.model_dump()
    assert {name: asked[name] for name in authors} == authors
    # Not theirs: ESPnet's default where they say nothing, and what has no effect as they use it.
    assert {name: asked[name] for name in asked.keys() - authors.keys()} == {
        "grad_clip": 5.0, "batch_audio_s": None, "window_share": 0.25, "joined_share": 0.0,
        "delta_sigma_rate": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(("method", "alpha"), [("lora", 64), ("dora", 64), ("pissa", 32)])
def test_alpha_on_real_owsm_is_the_authors_and_elsewhere_the_rank(method: Method, alpha: float) -> None:
    """As their peft_tuning_owsm_{lora,dora,pissa}.yaml have it, at rank 32."""
    assert alpha_for(OWSM_PARAMETERS, method, 32) == alpha
    assert alpha_for(NANO_PARAMETERS, method, 32) == 32


def test_what_owsm_nano_was_measured_with_stays() -> None:
    assert NANO.initial_silence_s == 1.0


@pytest.mark.parametrize(
    ("method", "rate"), [("ssvd", 3e-4), ("lora", 1e-3), ("full", 3e-5), ("lora-xs", 3e-4)]
)
def test_a_real_base_without_ctc_has_a_recipe_and_rates_of_its_own(method: Method, rate: float) -> None:
    recipe = recipe_for(OWSM_PARAMETERS, method, has_ctc=False)
    assert recipe == WITHOUT_CTC.changed(lr=rate)
    assert recipe_for(NANO_PARAMETERS, method, has_ctc=False) == recipe_for(NANO_PARAMETERS, method)
