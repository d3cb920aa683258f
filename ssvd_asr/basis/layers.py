"""Choice of the linears of a model to adapt, by the ends of their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ssvd_asr.errors import AdapterError

if TYPE_CHECKING:
    from torch import nn

# Those of OWSM. "All linear layers" as the paper's recipe (arXiv 2509.02830) spells them: 128 in OWSM-0.1B,
# 380 in OWSM-1B, 258 in OWLS-2B. `attn.` also matches `self_attn.` and `src_attn.`. The CTC head and the
# decoder's embedding do not match.
DEFAULT_PATTERNS: tuple[str, ...] = (
    "attn.linear_q",
    "attn.linear_k",
    "attn.linear_v",
    "attn.linear_out",
    "embed.out",
    "embed.out.0",  # the same layer before ESPnet flattened it
    "cgmlp.channel_proj1.0",
    "cgmlp.channel_proj2",
    "feed_forward.w_1",
    "feed_forward.w_2",
    "feed_forward_macaron.w_1",
    "feed_forward_macaron.w_2",
    "merge_proj",
    "output_layer",
)


def match_layers(model: nn.Module, patterns: Sequence[str] = DEFAULT_PATTERNS) -> dict[str, nn.Linear]:
    """Return the model's linears whose dotted name ends with one of the patterns, in the model's own order.

    Raises AdapterError where nothing matches, or where one linear has two names: adapting it under one name
    would leave the other unchanged.
    """
    from torch import nn

    found: dict[str, nn.Linear] = {}
    names: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if not isinstance(module, nn.Linear) or not name.endswith(tuple(patterns)):
            continue
        if id(module) in names:
            raise AdapterError(
                f"layers {names[id(module)]!r} and {name!r} are one module; it cannot be adapted"
            )
        names[id(module)] = name
        found[name] = module
    if not found:
        raise AdapterError(
            f"no linear of {type(model).__name__} ends with any of the patterns {', '.join(patterns)} "
            "(or the model is adapted already)"
        )
    return found


def named_linears(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Linear]:
    """Return the model's linears of these dotted names, in the model's own order.

    Raises AdapterError where a name is no linear of the model, or where a linear has two names.
    """
    wanted = set(names)
    found = {name: module for name, module in match_layers(model, tuple(wanted)).items() if name in wanted}
    if missing := sorted(wanted - found.keys()):
        raise AdapterError(f"{missing[0]!r} is no linear of {type(model).__name__} (or is adapted already)")
    return found
