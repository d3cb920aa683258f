"""The recipe of a training run: every number that affects the result, with its default.

`OWSM` is the SSVD authors' recipe, shared by all real OWSM and OWLS sizes. `NANO` is scaled to a
model of a few million parameters and a few hours of speech on two processor cores. `WITHOUT_CTC` is for bases
that have no CTC head, as Whisper, and a few hours of speech.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ssvd_asr.adapter.forms import SVFT_MAPS, SvftMap

Method = Literal["ssvd", "lora-xs", SvftMap, "lora", "dora", "vera", "pissa", "full"]

# Smaller models train by the scaled recipe. OWSM's smallest has 101 M parameters, owsm-nano 2-8 M.
NANO_MAX_PARAMETERS = 20_000_000


class Recipe(BaseModel):
    """How an adapter is trained. Frozen; `changed` makes a modified copy."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=15, ge=1, description="rounds of training, each ended by a validation")
    patience: int | None = Field(
        default=3, ge=1, description="stop after so many epochs without a better accuracy"
    )
    seed: int = Field(default=42, ge=0, description="decides batches, silences, masks and dropout")

    lr: float = Field(default=1e-4, gt=0, description="peak learning rate of AdamW")
    delta_sigma_rate: float = Field(
        default=1.0, gt=0, description="rate of the singular values' changes, as a multiple of lr"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW: decay of the gradient's mean")
    beta2: float = Field(default=0.98, ge=0, lt=1, description="AdamW: decay of its square's mean")
    eps: float = Field(default=1e-6, gt=0, description="AdamW: added to the root")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW: decoupled weight decay")
    schedule: Literal["piecewise", "cosine"] = Field(
        default="piecewise",
        description="after the warm-up: lr * sqrt(warmup / step), or a cosine down to 1 % of lr",
    )
    warmup_steps: int = Field(default=1500, ge=1, description="optimiser steps of linear warm-up from 0")
    grad_clip: float = Field(default=5.0, gt=0, description="largest norm of the gradient")

    batch_utterances: int | None = Field(
        default=8, ge=1, description="most utterances in a batch; joined ones count as one"
    )
    batch_audio_s: float | None = Field(
        default=None, gt=0, description="most seconds of padded audio in a batch"
    )
    accumulation: int = Field(default=4, ge=1, description="batches an optimiser step")
    min_batches_per_epoch: int = Field(default=2000, ge=1, description="smaller data are gone through again")
    max_batches_per_epoch: int | None = Field(
        default=2000, ge=1, description="larger data are spread over epochs"
    )

    joined_share: float = Field(
        default=0.0, ge=0, le=1, description="share of utterances that are trained joined to others"
    )
    padding: Literal["window", "mixed"] = Field(
        default="window",
        description="pad every batch to the model's window, or to lengths between speech and window",
    )
    window_share: float = Field(
        default=0.25, ge=0, le=1, description="mixed padding: share of batches in the full window"
    )
    initial_silence_s: float = Field(
        default=30.0, ge=0, description="most silence put before the speech, where the batch has room (s)"
    )
    timestamp_share: float = Field(
        default=0.5, ge=0, le=1, description="share of targets with utterance timestamps"
    )

    ctc_weight: float = Field(default=0.3, ge=0, le=1, description="share of the CTC in the loss")
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="of the attention decoder's targets")
    dropout: float | None = Field(
        default=None, ge=0, lt=1, description="None: as the base's configuration says"
    )
    freq_masks: int = Field(
        default=2, ge=0, description="SpecAugment: frequency masks (there is no time warp)"
    )
    freq_mask_share: float = Field(
        default=27 / 80, ge=0, le=1, description="widest frequency mask, share of the bins"
    )
    time_masks: int = Field(default=10, ge=0, description="SpecAugment: time masks")
    time_mask_share: float = Field(
        default=0.05, ge=0, le=1, description="widest time mask, share of the frames"
    )

    normalise_text: bool = Field(
        default=False, description="train on scoring.normalise(text), not on the text as it is"
    )

    @model_validator(mode="after")
    def _bounded(self) -> Recipe:
        if self.batch_utterances is None and self.batch_audio_s is None:
            raise ValueError("a batch needs a bound: set batch_utterances or batch_audio_s")
        if self.max_batches_per_epoch is not None and self.max_batches_per_epoch < self.min_batches_per_epoch:
            raise ValueError(
                f"max_batches_per_epoch {self.max_batches_per_epoch} is below "
                f"min_batches_per_epoch {self.min_batches_per_epoch}"
            )
        return self

    def changed(self, **changes: object) -> Recipe:
        """Return a validated copy with ``changes``. Raises pydantic.ValidationError (a ValueError)."""
        return Recipe.model_validate({**self.model_dump(), **changes})


OWSM = Recipe()

NANO = Recipe(
    epochs=6,
    patience=None,
    lr=1.5e-3,
    schedule="cosine",
    warmup_steps=50,
    batch_utterances=None,
    batch_audio_s=48.0,
    accumulation=1,
    min_batches_per_epoch=60,
    max_batches_per_epoch=None,
    joined_share=0.5,
    padding="mixed",
    window_share=0.15,
    initial_silence_s=1.0,
    dropout=0.0,
    freq_masks=2,
    freq_mask_share=0.1,
    time_masks=2,
    time_mask_share=0.03,
    normalise_text=True,
)

# What docs/results/real.md was measured with, for longer.
WITHOUT_CTC = NANO.changed(
    epochs=6,
    patience=2,
    lr=3e-4,
    min_batches_per_epoch=100,
    joined_share=0.3,
    window_share=0.05,
    initial_silence_s=0.5,
    timestamp_share=0.2,
    normalise_text=False,  # its vocabulary has capitals and punctuation
)

# The rates that docs/results/real.md chose, where they differ from the recipe's.
_WITHOUT_CTC_LR: Mapping[Method, float] = {"lora": 1e-3, "dora": 1e-3, "full": 3e-5}

# Peak rates for owsm-nano that differ from the recipe's. They are starting points near the rates chosen on
# `child` in docs/results/methods.md; choose on validation data. Real OWSM uses the authors' one rate for all.
_NANO_LR: Mapping[Method, float] = {
    "full": 1e-3,
    "lora": 1e-2,
    "dora": 1e-2,
    "pissa": 3e-3,
    "vera": 1e-2,  # 1e-1 without the LoRA on the embedding
    **dict.fromkeys(SVFT_MAPS, 5e-3),
    "svft-plain": 1e-1,
}

# Alpha over rank on real OWSM, from the authors' configurations; 1 for all others.
_OWSM_ALPHA: Mapping[Method, float] = {"lora": 2.0, "dora": 2.0}


def recipe_for(parameters: int, method: Method = "ssvd", *, has_ctc: bool = True) -> Recipe:
    """Return the default recipe for a base of ``parameters`` weights, with or without a CTC head."""
    if parameters >= NANO_MAX_PARAMETERS:
        if has_ctc:
            return OWSM
        return WITHOUT_CTC.changed(lr=_WITHOUT_CTC_LR.get(method, WITHOUT_CTC.lr))
    return NANO.changed(lr=_NANO_LR.get(method, NANO.lr))


def alpha_for(parameters: int, method: Method, rank: int) -> float:
    """Return the default alpha for a base of ``parameters`` weights; the update is scaled by alpha / rank."""
    return rank * (_OWSM_ALPHA.get(method, 1.0) if parameters >= NANO_MAX_PARAMETERS else 1.0)
