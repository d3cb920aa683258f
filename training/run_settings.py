"""Settings of a training run. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ssvd_asr.adapter.forms import DEFAULT_MAP, BudgetRule, Directions, RotationMap
from training.recipe import Method

Sides = Literal["inner", "both"]  # rotate on the side of V only, or on the side of U too
SIDES: tuple[Sides, ...] = get_args(Sides)
Scope = Literal["all", "encoder", "decoder"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run, without the recipe's numbers (`training.recipe`)."""

    domain: str
    data: Path
    valid: Path
    out: Path
    test: Path | None = None  # scored before and after; None: the validation data
    base: str = "owsm-nano"
    config: Path | None = None
    checkpoint: Path | None = None
    method: Method = "ssvd"  # training.methods.choices lists the options of each method
    rotation_map: RotationMap = DEFAULT_MAP
    p: float | None = None
    k: int | None = None
    overrides: Mapping[str, int | float] | None = None
    budget: int | None = None  # most numbers to train; ssvd_asr.adapter.budget chooses each layer's k
    budget_rule: BudgetRule = "energy"
    sides: Sides = "inner"
    directions: Directions = "head"
    delta_sigma: bool = True
    off_diagonals: int | None = None  # None: training.methods.choices.DEFAULT_OFF_DIAGONALS
    scope: Scope = "all"
    rank: int | None = None  # None: training.methods.choices.default_rank
    alpha: float | None = None  # None: training.recipe.alpha_for
    embedding: bool = True  # add a LoRA on the decoder's token embedding to a peft method
    scale: float | None = None  # of the trained change; None: chosen on the validation data
    language: str = "<eng>"
    device: str = "auto"
    dtype: str = "auto"
    scored: bool = True  # False: write the file without its WER before and after
    min_usable: int | float = 1
    cache_bytes: int = 4 * 2**30  # of decoded audio in memory
    resume: bool = False
    publish: bool = False
    store: Path | str | None = None  # None: the user's store
    recompute: bool = False  # gradient checkpointing: less memory, more time
    progress: bool = True
