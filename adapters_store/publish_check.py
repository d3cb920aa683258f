"""Check before publishing an adapter file: it is for this base, fits it, and its canary agrees here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adapters_store.store import Check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ssvd_asr.base.model import BaseModel
    from ssvd_asr.basis.factors import LayerFactors


def publish_check(base: BaseModel, factors: Mapping[str, LayerFactors] | None = None) -> Check:
    """Return the check for `AdapterStore.publish` against a base model.

    The check raises WrongBaseError or WrongBasisError. It raises AdapterError if the file does not match its
    layer list, holds a number that is not finite, changes nothing, or fails its canary.

    Args:
        base: must not be adapted when the check runs; the check adapts it and restores it.
        factors: the base's factors; if None, they come from the cache or are computed.
    """

    def check(path: Path) -> None:
        from ssvd_asr.adapted_model import adapt
        from ssvd_asr.adapter.canary import check_publishable
        from ssvd_asr.adapter.read import load_adapter
        from ssvd_asr.basis.cache import factorize

        known = factorize(base, progress=False) if factors is None else factors
        loaded = load_adapter(path, base, known)
        adapted = adapt(base.network, known, rank=max(loaded.adapter.spans.values()))
        try:
            check_publishable(loaded, adapted, base)
        finally:
            adapted.restore()

    return check
