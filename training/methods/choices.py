"""Options of a run by method, and their defaults. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import cast, get_args

from ssvd_asr.adapter.forms import SVFT_MAPS, CoreForm, CoreMap
from ssvd_asr.errors import SsvdError
from training.recipe import Method
from training.run_settings import RunSettings, Scope

METHODS: tuple[Method, ...] = get_args(Method)
SVFT: tuple[Method, ...] = SVFT_MAPS
SIZED: tuple[Method, ...] = ("ssvd", "lora-xs")  # by k directions per layer
PEFT: tuple[Method, ...] = ("lora", "dora", "vera", "pissa")
SCALED: tuple[Method, ...] = (*SIZED, *SVFT, "lora", "vera", "full")  # methods whose change has a scale
MERGED: tuple[Method, ...] = (*PEFT, "full")  # write whole weights, not a core per layer

# Fields of RunSettings -> the methods that use them. All methods use the other fields.
BELONGS: Mapping[str, tuple[Method, ...]] = {
    "rotation_map": ("ssvd",),
    "sides": ("ssvd",),
    "delta_sigma": ("ssvd",),
    **dict.fromkeys(("p", "k", "overrides", "budget", "budget_rule", "directions"), SIZED),
    "off_diagonals": SVFT[1:],
    **dict.fromkeys(("rank", "embedding"), PEFT),
    "alpha": ("lora", "dora", "pissa"),
}
_OPTIONS = {
    "rotation_map": "map",
    "overrides": "override",
    "delta_sigma": "no-delta-sigma",
    "embedding": "no-embedding",
}  # where the option is named differently from the field

_RANK: Mapping[Method, int] = {"vera": 64}  # the paper's middle sizes on OWSM-0.1B
_OTHER_RANK = 16
DEFAULT_OFF_DIAGONALS = 8  # the paper's smallest


def option_of(field: str, value: object) -> tuple[str, object]:
    """Return a field of RunSettings as the command has it: its option without dashes, and the value."""
    name = _OPTIONS.get(field, field)
    if isinstance(value, bool) and name.startswith("no-"):
        return name, not value
    if isinstance(value, Mapping):
        return name, ", ".join(f"{pattern}={size}" for pattern, size in value.items())
    return name, value


def options_of(settings: RunSettings, **resolved: object) -> dict[str, object]:
    """Return the method's own options by field of RunSettings; ``resolved`` are those left to a default."""
    return {
        field: resolved.get(field, getattr(settings, field))
        for field, methods in BELONGS.items()
        if settings.method in methods
    }


def default_rank(method: Method) -> int:
    """Return the default rank of a peft method."""
    return _RANK.get(method, _OTHER_RANK)


def core_form(settings: RunSettings) -> CoreForm:
    """Return the core form of a method in the shared basis. Raises SsvdError for any other method."""
    if settings.method == "ssvd":
        return CoreForm(settings.rotation_map, settings.sides == "both", settings.delta_sigma)
    if settings.method in MERGED:
        raise SsvdError(f"--method {settings.method} has no adapter in the shared basis")
    core_map = cast(CoreMap, settings.method)  # the remaining methods are named after their maps
    if core_map not in SVFT[1:]:
        return CoreForm(core_map)
    given = settings.off_diagonals
    return CoreForm(core_map, off_diagonals=DEFAULT_OFF_DIAGONALS if given is None else given)


def check_choices(settings: RunSettings) -> None:
    """Raise SsvdError for an option the method does not use, or for publishing merged weights."""
    method = settings.method
    for field in fields(settings):
        methods = BELONGS.get(field.name, METHODS)
        if method not in methods and getattr(settings, field.name) != field.default:
            option = _OPTIONS.get(field.name, field.name).replace("_", "-")
            raise SsvdError(f"--{option} does not go with --method {method}; it is for {', '.join(methods)}")
    chosen = [name for name in ("p", "k", "overrides", "budget") if getattr(settings, name) is not None]
    if settings.budget is not None and len(chosen) > 1:
        raise SsvdError(
            f"--budget chooses every layer's k, and excludes --{_OPTIONS.get(chosen[0], chosen[0])}"
        )
    if settings.budget is None and settings.budget_rule != type(settings).budget_rule:
        raise SsvdError(f"--budget-rule {settings.budget_rule} goes with --budget, which is not given")
    if settings.scale not in (None, 1.0) and method not in SCALED:
        raise SsvdError(f"--scale {settings.scale:g}: what --method {method} writes has no scale but 1")
    if settings.publish and method in MERGED:
        raise SsvdError(
            f"--publish is for adapters in the shared basis; --method {method} leaves merged weights: "
            "evaluate them with `ssvd evaluate --weights`, or make a base of them with `ssvd adapters merge`"
        )


def in_scope(names: Iterable[str], scope: Scope) -> list[str]:
    """Return the dotted names in the scope: all, encoder, or decoder with its output layer."""
    # A network may hold both halves one level deeper: "model.encoder.layers.0.fc1".
    return [name for name in names if scope == "all" or f".{scope}." in f".{name}"]
