"""SSVD adapters for OWSM: one frozen speech model, one small file per domain.

    from ssvd_asr import adapt, factorize, load_adapter, load_base, transcribe

    base = load_base()                                     # owsm-nano; or "espnet/owsm_v3.1_ebf_base"
    factors = factorize(base)                              # computed once per base, then cached
    adapted = adapt(base.network, factors)
    child = load_adapter("child.safetensors", base, factors)
    print(transcribe(base, [wave], adapted=adapted, cores=child.adapter.cores())[0].text)

The names are imported when they are first used: ``import ssvd_asr`` loads neither torch nor ESPnet.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssvd_asr.version import __version__

if TYPE_CHECKING:
    from ssvd_asr.adapted_model import AdaptedModel, adapt
    from ssvd_asr.adapter.adapter import Adapter
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.adapter.write import save_adapter
    from ssvd_asr.audio.read import read_audio
    from ssvd_asr.base.load import load_base
    from ssvd_asr.basis.cache import factorize
    from ssvd_asr.transcription import transcribe

_WHERE = {
    "AdaptedModel": "ssvd_asr.adapted_model",
    "Adapter": "ssvd_asr.adapter.adapter",
    "adapt": "ssvd_asr.adapted_model",
    "factorize": "ssvd_asr.basis.cache",
    "load_adapter": "ssvd_asr.adapter.read",
    "load_base": "ssvd_asr.base.load",
    "read_audio": "ssvd_asr.audio.read",
    "save_adapter": "ssvd_asr.adapter.write",
    "transcribe": "ssvd_asr.transcription",
}

__all__ = [
    "AdaptedModel",
    "Adapter",
    "__version__",
    "adapt",
    "factorize",
    "load_adapter",
    "load_base",
    "read_audio",
    "save_adapter",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'ssvd_asr' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
