"""Adapters that a command names: files, or domains of the store, each with a weight or without one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adapters_store.blends import parse_weight
from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from ssvd_asr.errors import AdapterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.adapter.metadata import AdapterMetadata
    from ssvd_asr.base.model import BaseModel


@dataclass(frozen=True)
class NamedAdapter:
    """An adapter's bytes, and what it is called.

    Attributes:
        name: "child@2", or the path as given.
        weight: None where none was given.
        origin: the fields that tell where it is from, for a training summary.
    """

    name: str
    weight: float | None
    data: bytes = field(repr=False)
    metadata: AdapterMetadata = field(repr=False)
    sha256: str
    origin: dict[str, object]


def read_adapter(text: str, store: AdapterStore, *, weighted: bool) -> NamedAdapter:
    """Read the adapter that a text names: a file where there is one, else a domain of the store.

    Args:
        weighted: whether the text may end with "*" and a weight.

    Raises AdapterError for a file that is none, UnknownDomainError, and BlendError for a weight that is none.
    """
    from ssvd_asr.adapter.read import inspect_adapter, read_bounded

    name, star, number = text.rpartition("*") if weighted else (text, "", "")
    if not star:
        name = text
    weight = parse_weight(number.strip()) if star else None
    file = Path(name)
    if file.is_file():
        try:
            data = read_bounded(file)
            metadata = inspect_adapter(data)
        except AdapterError as error:
            raise AdapterError(f"{file}: {error}") from error
        sha256 = hashlib.sha256(data).hexdigest()
        return NamedAdapter(name, weight, data, metadata, sha256, {"file": file.name})
    return read_version(store.resolve(name.strip()), weight)


def read_version(version: Version, weight: float | None = None) -> NamedAdapter:
    """Read a version of the store. Raises AdapterError if its file has changed or is damaged."""
    from ssvd_asr.adapter.read import inspect_adapter

    data = version.read_bytes()
    origin = {"domain": version.name, "version": version.version}
    return NamedAdapter(version.reference, weight, data, inspect_adapter(data), version.sha256, dict(origin))


def check_one_base(adapters: list[NamedAdapter]) -> None:
    """Raise AdapterError if the adapters are not all of one base."""
    first = adapters[0]
    for other in adapters[1:]:
        if other.metadata.base_digest != first.metadata.base_digest:
            raise AdapterError(
                f"{first.name} was made for base {first.metadata.base_name} ({first.metadata.base_digest}), "
                f"{other.name} for {other.metadata.base_name} ({other.metadata.base_digest})"
            )


class Blending:
    """The parts of a blend, loaded and checked against the base.

    Attributes:
        dtype: the widest of the parts' files, in which the blend is held.
    """

    def __init__(self, base: BaseModel, factors: Any, parts: Sequence[NamedAdapter]) -> None:
        """Raise AdapterError for a damaged file or another base, BlendFormError for different forms."""
        from ssvd_asr.adapter.blend import check_alike
        from ssvd_asr.adapter.read import dtype_of, load_adapter

        self.names = [part.name for part in parts]
        self.adapters = [load_adapter(part.data, base, factors).adapter for part in parts]
        self.base = base
        formats = {dtype_of(part.data) for part in parts}
        self.dtype = max(formats, key=lambda name: int(name.removeprefix("float")))
        check_alike(self.adapters, self.names)

    def at(self, weights: Sequence[float]) -> Adapter:
        """Return the blend with these weights. At least one is not 0."""
        import torch

        from ssvd_asr.adapter.blend import blend_adapters

        chosen = [
            (adapter, weight, name)
            for adapter, weight, name in zip(self.adapters, weights, self.names, strict=True)
            if weight
        ]
        adapters, kept, names = zip(*chosen, strict=True)
        return blend_adapters(adapters, kept, names, getattr(torch, self.dtype)).to(self.base.device)
