"""Export of a base model to files, in ESPnet's form and in the compact one that this package embeds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
import yaml

from ssvd_asr.base.owsm.config import ModelConfig
from ssvd_asr.base.owsm.digest import base_digest
from ssvd_asr.base.owsm.tokens import TokenMap
from ssvd_asr.base.state_digest import check_unchanged
from ssvd_asr.errors import BaseModelError
from ssvd_asr.tensor_files import save_checkpoint_file, save_tensors

# Keys that ESPnet's S2T task reads from a config without a default of its own.
_TASK_DEFAULTS: dict[str, Any] = {
    "init": None,
    "input_size": None,
    "token_type": "bpe",
    "ctc_conf": {},
    "frontend": "default",
    "frontend_conf": {},
    "specaug": None,
    "specaug_conf": {},
    "normalize": "utterance_mvn",
    "normalize_conf": {},
    "preencoder": None,
    "preencoder_conf": {},
    "postencoder": None,
    "postencoder_conf": {},
    "model": "espnet",
    "model_conf": {},
}


class Exportable(Protocol):
    """The parts of an OwsmModel that are written."""

    name: str
    digest: str
    network: Any
    config: ModelConfig
    tokens: TokenMap


def export_espnet(base: Exportable, folder: Path) -> tuple[Path, Path]:
    """Write config.yaml, model.pth, bpe.model and feats_stats.npz; return the paths of the first two.

    `espnet2.bin.s2t_inference.Speech2Text(config, checkpoint)` loads them unmodified. It resolves paths from
    the current directory, so the config has absolute ones. `load_base(folder)` still works after the folder
    has been moved.

    Raises:
        BaseModelError: the network has changed since loading (adapted, trained, or cast to bfloat16).
    """
    state = _unchanged_state(base)
    folder = folder.absolute()
    config = _write_config(base, folder, absolute=True)
    checkpoint = folder / "model.pth"
    save_checkpoint_file(state, checkpoint)
    return config, checkpoint


def export_compact(base: Exportable, folder: Path, *, half_precision: bool = False) -> None:
    """Write the embedded form: config.yaml with relative names, tokens.txt, bpe.model, model.safetensors.

    With `half_precision` the weights are rounded to float16, which gives another model with another digest.

    Raises:
        BaseModelError: as in `export_espnet`, or a weight is outside the range of float16.
    """
    state = _unchanged_state(base)
    if half_precision:
        state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
        over = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
        if over:
            raise BaseModelError(f"{over[0]} has values beyond float16's 65504; export it in float32")
    _write_config(base, folder, absolute=False)
    (folder / "tokens.txt").write_text("\n".join(base.tokens.token_list) + "\n", encoding="utf-8")
    save_tensors(state, folder / "model.safetensors")


def _unchanged_state(base: Exportable) -> dict[str, torch.Tensor]:
    """Return the network's tensors on the CPU. Raise BaseModelError if the base's digest no longer fits."""
    check_unchanged(base.name, base.digest, base_digest(base.network, base.config, base.tokens))
    return {name: tensor.detach().cpu().contiguous() for name, tensor in base.network.state_dict().items()}


def _write_config(base: Exportable, folder: Path, *, absolute: bool) -> Path:
    """Write config.yaml and the files that it names into `folder`, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**_TASK_DEFAULTS, **base.config.raw}

    def name_of(file: str) -> str:
        return str(folder / file) if absolute else file

    (folder / "bpe.model").write_bytes(base.tokens.bpe_bytes)
    config["bpemodel"] = name_of("bpe.model")
    config["token_list"] = list(base.tokens.token_list) if absolute else "tokens.txt"
    if base.config.stats_file is not None:
        target = folder / "feats_stats.npz"
        if not (target.exists() and target.samefile(base.config.stats_file)):
            shutil.copyfile(base.config.stats_file, target)
        config["normalize_conf"] = {**config["normalize_conf"], "stats_file": name_of("feats_stats.npz")}
    path = folder / "config.yaml"
    with path.open("w", encoding="utf-8") as stream:
        # yaml's C writer is 10 times faster, which matters for 50,000 tokens.
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        yaml.dump(config, stream, Dumper=dumper, allow_unicode=True, sort_keys=False)
    return path
