"""LoRA, DoRA, VeRA and PiSSA by the `peft` library on the same layers as SSVD, for comparison.

As in the paper (arXiv 2509.02830), the decoder's token embedding takes a plain LoRA of the same rank with
each of the four. Only with it do the trained numbers agree with the paper's tables IV and V.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn

from ssvd_asr.errors import SsvdError
from ssvd_asr.output_paths import naming
from ssvd_asr.tensor_files import save_tensors

if TYPE_CHECKING:
    from peft import PeftConfig

PeftKind = Literal["lora", "dora", "vera", "pissa"]
PEFT_KINDS: tuple[PeftKind, ...] = get_args(PeftKind)
_LINEAR_IN = re.compile(r"lora_(embedding_)?B\b|vera_lambda_b\b")  # W + s B A is linear in these alone
LINEARS_ADAPTER, EMBEDDING_ADAPTER = "linears", "embedding"  # peft's names of the two sets of weights


class PeftMethod:
    """Trains the weights that peft adds; the base is frozen. PiSSA first moves a part of the base into them.

    An untrained LoRA, DoRA or VeRA is exactly the base. An untrained PiSSA equals it within rounding, since
    it splits W and adds the parts again.
    """

    def __init__(
        self,
        network: nn.Module,
        kind: PeftKind,
        layers: Sequence[str],
        *,
        rank: int,
        alpha: float | None = None,
        seed: int = 0,
    ) -> None:
        """Inject the layers into `network`, in place.

        Args:
            layers: dotted names of the linears, and of an embedding if it gets a LoRA.
            rank: of the update; for VeRA of the shared frozen matrices.
            alpha: the update is scaled by alpha / rank (default: rank). Not used by VeRA.
            seed: of the random half of LoRA and DoRA; torch's own random state is unchanged.

        Raises ModuleNotFoundError if peft is not installed.
        """
        self.network = network
        self.kind = kind
        device = next(network.parameters()).device
        network.requires_grad_(False)
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(seed)
            _inject(network, kind, layers, rank, float(rank) if alpha is None else alpha)
        network.to(device)  # VeRA's shared matrices are drawn on the CPU
        self.parameters: Mapping[str, nn.Parameter] = {
            name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad
        }

    def step(self) -> AbstractContextManager[None]:
        return nullcontext()

    def using(self) -> AbstractContextManager[None]:
        return nullcontext()

    def save_adapters(self, folder: Path) -> int:
        """Write the trained weights in peft's format, a folder per set; return the tensor files' bytes.

        `peft.inject_adapter_in_model` and `set_peft_model_state_dict` read them (VeRA: `get_peft_model`).
        """
        from peft import get_peft_model_state_dict

        written = 0
        configs: dict[str, PeftConfig] = self.network.peft_config  # type: ignore[assignment]
        for name, config in configs.items():
            path = folder / name / "adapter_model.safetensors"
            with naming(path.parent):
                config.save_pretrained(str(path.parent))
            state = get_peft_model_state_dict(self.network, adapter_name=name)
            save_tensors({key: value.detach().cpu().contiguous() for key, value in state.items()}, path)
            written += path.stat().st_size
        return written

    def merge(self) -> None:
        """Merge every update into its weight and restore the plain layers under the base's names.

        Raises SsvdError if a merged weight is not finite.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer

        for name, module in list(self.network.named_modules()):
            if not isinstance(module, BaseTunerLayer):
                continue
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise SsvdError(f"{self.kind}: layer {name!r} cannot be merged: {error}") from error
            parent, _, child = name.rpartition(".")
            setattr(self.network.get_submodule(parent), child, module.get_base_layer())


def scale_saved(folder: Path, scale: float) -> None:
    """Multiply the update that `save_adapters` wrote for LoRA or VeRA: its factor that starts at zero."""
    from safetensors.torch import load_file

    for path in folder.glob("*/adapter_model.safetensors"):
        state = load_file(path)
        save_tensors({name: scale * w if _LINEAR_IN.search(name) else w for name, w in state.items()}, path)


def _inject(network: nn.Module, kind: PeftKind, layers: Sequence[str], rank: int, alpha: float) -> None:
    from peft import LoraConfig, VeraConfig
    from peft.tuners.lora import LoraModel
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.tuners.vera import VeraModel

    embedding = [name for name in layers if isinstance(network.get_submodule(name), nn.Embedding)]
    linears = [name for name in layers if name not in embedding]
    if kind == "vera":
        # The projections come from a fixed key, so the file need not hold them.
        config = VeraConfig(r=rank, target_modules=linears, save_projection=False)
        VeraModel(network, config, LINEARS_ADAPTER)
    else:
        LoraModel(
            network,
            LoraConfig(
                r=rank,
                lora_alpha=alpha,  # type: ignore[arg-type]  # peft accepts any number
                target_modules=linears,
                use_dora=kind == "dora",
                init_lora_weights="pissa" if kind == "pissa" and not _on_meta(network) else True,
            ),
            LINEARS_ADAPTER,
        )
    if embedding:
        plain = LoraConfig(r=rank, lora_alpha=alpha, target_modules=embedding)  # type: ignore[arg-type]
        LoraModel(network, plain, EMBEDDING_ADAPTER)
        # Without this the second set of weights would disable the first.
        for module in network.modules():
            if isinstance(module, BaseTunerLayer):
                module.set_adapter([LINEARS_ADAPTER, EMBEDDING_ADAPTER])


def _on_meta(network: nn.Module) -> bool:
    """Return whether the network holds shapes only, without values for PiSSA to start from."""
    return any(parameter.is_meta for parameter in network.parameters())


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress peft's warnings of a second adapter and of VeRA's unsaved projections; both are intended."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        warnings.filterwarnings("ignore", message="Specified to not save vera_A and vera_B")
        yield
