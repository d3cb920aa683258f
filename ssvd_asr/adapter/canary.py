"""Canary: a fixed input whose outputs show whether an adapter works here as it did where it was made.

The fingerprints show that the basis is the same. The canary checks the rest: the map, the layers and the code
that applies them. A check runs the model twice on a short input; a file holds a few hundred bytes for it.

The input is 100 feature frames (1 s), which go straight into the encoder, and three tokens for the decoder.
Resampling and front end take no part; the base's digest covers the front end. Each output is reduced to a few
projections on fixed random signs, in units of the output's root mean square.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ssvd_asr.adapted_model import AdaptedModel
from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.base_match import BaseIdentity
from ssvd_asr.adapter.metadata import Canary, CanaryOutput
from ssvd_asr.adapter.read import LoadedAdapter, load_adapter
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.adapter.write import DEFAULT_DTYPE, adapter_bytes, describe_adapter, save_adapter
from ssvd_asr.base.probe import Probe
from ssvd_asr.basis.factors import LayerFactors
from ssvd_asr.errors import AdapterError, WrongBaseError

PROJECTIONS = 8  # numbers kept of each output
# In units of the output's RMS. float32: 1e-6 to 1e-5 between thread counts; bfloat16: rounding of each layer.
TOLERANCE = {"float64": 1e-3, "float32": 1e-3, "float16": 1e-1, "bfloat16": 1e-1}
SMALLEST_CHANGE = 1e-6  # in the same units; an adapter below it changes nothing


def make_canary(adapted: AdaptedModel, adapter: Adapter, probe: Probe) -> Canary:
    """Return the canary of an adapter.

    Pass the adapter as re-read from its file, so that the file's rounding is included.

    Raises AdapterError where an output is not finite, or an output of the base is zero.
    """
    base = _projections(adapted, None, probe)
    turned = _projections(adapted, adapter, probe)
    outputs = {}
    for name, (numbers, scale) in base.items():
        if not (np.isfinite(numbers).all() and 0.0 < scale < float("inf")):
            raise AdapterError(
                f"canary output {name!r} of the base is not finite or is zero; it can tell nothing"
            )
        if not np.isfinite(turned[name][0]).all():
            raise AdapterError(f"canary output {name!r} is not finite with the adapter")
        outputs[name] = CanaryOutput(
            base=tuple(numbers.tolist()), adapter=tuple(turned[name][0].tolist()), scale=scale
        )
    made_in = TOLERANCE[_dtype_name(adapted)]  # numbers made in bfloat16 are as coarse in float32
    return Canary(
        probe=probe.name,
        outputs=outputs,
        tolerance={dtype: max(own, made_in) for dtype, own in TOLERANCE.items()},
    )


def check_canary(canary: Canary, adapted: AdaptedModel, adapter: Adapter, probe: Probe) -> dict[str, float]:
    """Run the canary on this model; return each output's change by the adapter, in units of its RMS.

    Raises AdapterError for another probe, a dtype without a tolerance, other outputs than the canary's,
    numbers of base or adapter that deviate by more than the tolerance, or an adapter that changes nothing.
    """
    if canary.probe != probe.name:
        raise AdapterError(f"the canary was made by probe {canary.probe!r}, this one is {probe.name!r}")
    dtype = _dtype_name(adapted)
    if dtype not in canary.tolerance:
        raise AdapterError(f"the canary states no tolerance for {dtype}")
    here = {"base": _projections(adapted, None, probe), "adapter": _projections(adapted, adapter, probe)}
    if here["base"].keys() != canary.outputs.keys():
        raise AdapterError(f"canary outputs {sorted(canary.outputs)}, the model gives {sorted(here['base'])}")
    change: dict[str, float] = {}
    for name, stored in canary.outputs.items():
        for which, wanted in (("base", stored.base), ("adapter", stored.adapter)):
            numbers = here[which][name][0]
            if numbers.shape != (len(wanted),):
                raise AdapterError(f"canary output {name!r}: {len(wanted)} numbers, here {len(numbers)}")
            deviation = float(np.abs(numbers - np.asarray(wanted)).max()) / stored.scale
            if not deviation <= canary.tolerance[dtype]:  # a NaN fails too
                raise AdapterError(
                    f"canary: {name} of the {which} deviates by {deviation:.1e} of its RMS, "
                    f"tolerance {canary.tolerance[dtype]:.1e} in {dtype}"
                )
        moved = here["adapter"][name][0] - here["base"][name][0]
        change[name] = float(np.abs(moved).max()) / stored.scale
    if max(change.values()) <= SMALLEST_CHANGE:
        raise AdapterError(
            f"the adapter changes nothing: canary outputs move by {max(change.values()):.1e} of RMS"
        )
    return change


def check_publishable(loaded: LoadedAdapter, adapted: AdaptedModel, base: BaseIdentity) -> dict[str, float]:
    """Check that a loaded adapter may be published; return the change it makes to each canary output.

    Raises WrongBaseError for another base; AdapterError where a layer is not in the model, there is no
    canary, the canary fails, or the adapter changes nothing.
    """
    metadata = loaded.metadata
    if metadata.base_digest != base.digest:
        raise WrongBaseError(
            f"the adapter was made for base {metadata.base_name!r} ({metadata.base_digest}), not for "
            f"{base.name!r} ({base.digest})"
        )
    missing = [name for name in metadata.layers if name not in adapted.layers]
    if missing:
        raise AdapterError(f"the model has no adapted layer {missing[0]!r}")
    if metadata.canary is None:
        raise AdapterError(
            "the adapter carries no canary (make_canary), so it cannot be checked and published"
        )
    if not any(bool(tensor.any()) for tensor in loaded.adapter.state.values()):
        raise AdapterError("the adapter changes nothing: all its numbers are zero")
    return check_canary(metadata.canary, adapted, loaded.adapter, base.probe)


def seal_adapter(
    path: Path | str,
    adapter: Adapter,
    adapted: AdaptedModel,
    base: BaseIdentity,
    factors: Mapping[str, LayerFactors],
    *,
    training: Mapping[str, object] | None = None,
    voices: VoiceSummary | None = None,
    dtype: str = DEFAULT_DTYPE,
) -> LoadedAdapter:
    """Write a trained adapter with its canary, and return it as re-read from the file's bytes.

    The canary is made from the tensors as the file will hold them.

    Raises AdapterError, and writes no file, where the result could not be published (`check_publishable`).
    """
    metadata = describe_adapter(adapter, base, factors, training=training, voices=voices)
    rounded = load_adapter(adapter_bytes(adapter, metadata=metadata, dtype=dtype)).adapter
    canary = make_canary(adapted, rounded, base.probe)
    metadata = metadata.model_copy(update={"canary": canary})
    loaded = load_adapter(adapter_bytes(rounded, metadata=metadata, dtype=dtype), base, factors)
    check_publishable(loaded, adapted, base)
    save_adapter(path, rounded, metadata=metadata, dtype=dtype)
    return loaded


def _dtype_name(adapted: AdaptedModel) -> str:
    """Return the name of the working dtype, as in `TOLERANCE`."""
    return str(next(iter(adapted.layers.values())).weight.dtype).removeprefix("torch.")


def _projections(
    adapted: AdaptedModel, adapter: Adapter | None, probe: Probe
) -> dict[str, tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]]:
    """Run the probe; return PROJECTIONS numbers and the RMS of each output."""
    parameter = next(iter(adapted.layers.values())).weight
    with torch.inference_mode(), _reproducible(adapted.model):
        cores = None
        if adapter is not None:
            cores = {name: core.to(parameter) for name, core in adapter.cores().items()}
        with adapted.using(cores) as model:
            outputs = probe.run(model)
        return {name: _project(output) for name, output in outputs.items()}


def _project(output: Tensor) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
    """Return sums of the output under fixed signs, over the root of its size, and the output's RMS.

    The sums are about as large as the RMS.
    """
    flat = output.detach().to(device="cpu", dtype=torch.float64).flatten().numpy()
    packed = hashlib.shake_256(b"ssvd-asr canary signs").digest(-(-PROJECTIONS * flat.size // 8))
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=PROJECTIONS * flat.size)
    signs = bits.reshape(PROJECTIONS, flat.size).astype(np.float64) * 2.0 - 1.0
    numbers = signs @ flat / np.sqrt(flat.size)
    return numbers, float(np.sqrt(np.mean(flat**2)))


@contextmanager
def _reproducible(model: nn.Module) -> Iterator[None]:
    """Turn dropout, autocast and TF32 off; restore the modules' own train or eval mode afterwards."""
    training = [module for module in model.modules() if module.training]
    device = next(model.parameters()).device.type
    cudnn = torch.backends.cudnn.allow_tf32
    matmul = torch.backends.cuda.matmul.allow_tf32
    model.eval()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
        for module in training:
            module.training = True
