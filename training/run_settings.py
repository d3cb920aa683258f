"""What a training run is asked for. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ssvd_asr.adapter.forms import DEFAULT_MAP, BudgetRule, Directions, RotationMap
from training.recipe import Method

Sides = Literal["inner", "both"]  # one rotation, on the side of V, or one on the side of U beside it
SIDES: tuple[Sides, ...] = get_args(Sides)
Scope = Literal["all", "encoder", "decoder"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked for; the recipe's numbers are apart, in `training.recipe`."""

    domain: str
    data: Path
    valid: Path
    out: Path
    test: Path | None = None  # scored before and after; the validation data where there is none
    base: str = "owsm-nano"
    config: Path | None = None
    checkpoint: Path | None = None
    method: Method = "ssvd"  # training.methods.choices says which of the following go with it
    rotation_map: RotationMap = DEFAULT_MAP
    p: float | None = None
    k: int | None = None
    overrides: Mapping[str, int | float] | None = None
    budget: int | None = None  # numbers trained at most; ssvd_asr.adapter.budget chooses each layer's k
    budget_rule: BudgetRule = "energy"
    sides: Sides = "inner"
    directions: Directions = "head"
    delta_sigma: bool = True
    off_diagonals: int | None = None  # None: training.methods.choices.DEFAULT_OFF_DIAGONALS
    scope: Scope = "all"
    rank: int | None = None  # None: training.methods.choices.default_rank
    alpha: float | None = None  # None: training.recipe.alpha_for
    embedding: bool = True  # whether a peft method has a LoRA on the decoder's token embedding
    language: str = "<eng>"
    device: str = "auto"
    dtype: str = "auto"
    scored: bool = True  # False: the file is written without its WER before and after
    min_usable: int | float = 1
    cache_bytes: int = 4 * 2**30  # of decoded audio in memory
    resume: bool = False
    publish: bool = False
    store: Path | None = None  # None: the user's
    recompute: bool = False  # gradient checkpointing: less memory, more time
    progress: bool = True
