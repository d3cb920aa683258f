"""Builder of a run's training method, and of the step that writes and scores its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from ssvd_asr.errors import SsvdError
from training.methods.choices import PEFT, core_form, default_rank, in_scope, options_of
from training.methods.finish import finish_merged, finish_ssvd
from training.methods.method import FullMethod, SsvdMethod, TrainingMethod
from training.methods.peft import PeftMethod, scale_saved
from training.recipe import alpha_for

if TYPE_CHECKING:
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.base.model import BaseModel
    from ssvd_asr.basis.factors import LayerFactors
    from training.recipe import Recipe
    from training.run_settings import RunSettings

_NAMED = 8  # layers in a line to print
Finish = Callable[[dict[str, Any]], dict[str, Any]]  # a run's summary -> its result
Report = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """A training method, its options with their defaults (`choices.options_of`), and its final step."""

    method: TrainingMethod
    options: Mapping[str, object]
    finish: Finish


def build_method(settings: RunSettings, base: BaseModel, recipe: Recipe, report: Report) -> Built:
    """Add the method's trainable parameters to the base's network.

    Raises SsvdError (or its subclass AdapterError) for sizes that do not fit the base or a missing library.
    """
    if settings.method == "full":
        return _full(settings, base, report)
    if settings.method in PEFT:
        return _peft(settings, base, recipe, report)
    return _shared_basis(settings, base, report)


def _full(settings: RunSettings, base: BaseModel, report: Report) -> Built:
    method = FullMethod(base.network, settings.scope)
    return Built(method, options_of(settings), partial(finish_merged, settings, base, report))


def _peft(settings: RunSettings, base: BaseModel, recipe: Recipe, report: Report) -> Built:
    from ssvd_asr.basis.layers import match_layers

    kind: Any = settings.method
    names = list(match_layers(base.network, base.linears))
    if settings.embedding and base.embedding is not None:
        names.append(base.embedding)
    names = in_scope(names, settings.scope)
    rank = settings.rank or default_rank(kind)
    _check_rank(base.network, names, kind, rank)
    parameters = sum(parameter.numel() for parameter in base.network.parameters())
    alpha = settings.alpha or alpha_for(parameters, kind, rank)
    method = PeftMethod(base.network, kind, names, rank=rank, alpha=alpha, seed=recipe.seed)

    def finish(summary: dict[str, Any]) -> dict[str, Any]:
        nbytes = method.save_adapters(settings.out / "peft")
        method.merge()
        result = finish_merged(settings, base, report, summary)
        scale_saved(settings.out / "peft", result["scale"])
        return {**result, "adapter_bytes": nbytes}

    return Built(method, options_of(settings, rank=rank, alpha=alpha), finish)


def _check_rank(network: nn.Module, names: Sequence[str], kind: str, rank: int) -> None:
    """Raise SsvdError if the rank exceeds a weight's smaller side; VeRA's linears take any rank."""
    for name in names:
        module = network.get_submodule(name)
        if kind == "vera" and not isinstance(module, nn.Embedding):
            continue
        smaller = min(module.weight.shape)  # type: ignore[arg-type]
        if rank > smaller:
            raise SsvdError(f"--rank {rank} is over {smaller}, the smaller side of {name}'s weight")


def _shared_basis(settings: RunSettings, base: BaseModel, report: Report) -> Built:
    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.adapter import DEFAULT_P
    from ssvd_asr.basis.cache import factorize

    factors = factorize(base, progress=settings.progress)
    adapter = new_adapter(settings, factors).to(base.device)
    adapted = adapt(base.network, factors, rank=max(adapter.spans.values()))

    among = in_scope(factors, settings.scope)
    untrained = [n for n in among if n not in adapter.ks or not adapter.form.parameters(adapter.ks[n])]
    if untrained:
        more = f" and {len(untrained) - _NAMED} more" if len(untrained) > _NAMED else ""
        report(
            f"no numbers to train in {len(untrained)} of {len(among)} layers: "
            f"{', '.join(untrained[:_NAMED])}{more} (untrained_layers in result.json)"
        )

    def finish(summary: dict[str, Any]) -> dict[str, Any]:
        result = finish_ssvd(settings, base, adapted, adapter, factors, summary, report)
        return {**result, "untrained_layers": untrained}

    sized = settings.p is not None or settings.k is not None or settings.budget is not None
    options = options_of(
        settings,
        p=settings.p if sized else DEFAULT_P,
        off_diagonals=adapter.form.off_diagonals,
    )
    return Built(SsvdMethod(adapter, adapted), options, finish)


def new_adapter(settings: RunSettings, factors: Mapping[str, LayerFactors]) -> Adapter:
    """Return an untrained adapter of these settings. Raises AdapterError for sizes that fit no layer."""
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.adapter.budget import ks_within

    form, layers = core_form(settings), in_scope(factors, settings.scope)
    if settings.budget is not None:
        chosen = {name: factors[name] for name in layers}
        ks = ks_within(settings.budget, chosen, form, settings.budget_rule, settings.directions)
        return Adapter.of_ks(factors, ks, form, directions=settings.directions)
    return Adapter.new(
        factors,
        p=settings.p,
        k=settings.k,
        rotation_map=form,
        layers=layers,
        overrides=settings.overrides,
        directions=settings.directions,
    )
