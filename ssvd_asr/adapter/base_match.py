"""Checks that an adapter belongs to a base: its digest, its layers, and the basis of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ssvd_asr.adapter.metadata import AdapterMetadata
from ssvd_asr.errors import AdapterError, WrongBaseError

if TYPE_CHECKING:
    from torch import nn

    from ssvd_asr.base.probe import Probe
    from ssvd_asr.basis.factors import LayerFactors


class BaseIdentity(Protocol):
    """The parts of a base model that an adapter file is checked against."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def network(self) -> nn.Module: ...

    @property
    def probe(self) -> Probe: ...


def check_base(metadata: AdapterMetadata, base: BaseIdentity) -> None:
    """Raise WrongBaseError for another digest, or AdapterError for layers that the base does not have.

    Names and shapes are compared as well, because a file can state a false digest.
    """
    if metadata.base_digest != base.digest:
        raise WrongBaseError(
            f"the adapter was made for base {metadata.base_name!r} ({metadata.base_digest}), not for "
            f"{base.name!r} ({base.digest})"
        )
    from torch import nn

    from ssvd_asr.layer.linear import AdaptedLinear

    modules = dict(base.network.named_modules())
    for name, entry in metadata.layers.items():
        module = modules.get(name)
        if not isinstance(module, (nn.Linear, AdaptedLinear)):
            raise AdapterError(f"layer {name!r} of the adapter is no linear of base {base.name!r}")
        if (module.out_features, module.in_features) != (entry.out_features, entry.in_features):
            raise AdapterError(
                f"layer {name!r} is {module.out_features} x {module.in_features} in the base, "
                f"{entry.out_features} x {entry.in_features} in the adapter"
            )


def check_basis(metadata: AdapterMetadata, factors: Mapping[str, LayerFactors]) -> None:
    """Raise WrongBasisError where a fingerprint deviates.

    Raises AdapterError for a layer without factors, or with factors of another shape.
    """
    import torch

    from ssvd_asr.basis.fingerprint import check_fingerprint

    for name, entry in metadata.layers.items():
        if name not in factors:
            raise AdapterError(f"layer {name!r} of the adapter has no factors in the base")
        if factors[name].shape != (entry.out_features, entry.in_features):
            raise AdapterError(
                f"layer {name!r} is {factors[name].shape} in the base's factors, "
                f"{(entry.out_features, entry.in_features)} in the adapter"
            )
        check_fingerprint(name, torch.from_numpy(entry.fingerprint_values()), factors[name], entry.start)
