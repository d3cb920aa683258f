"""Checkpoint of a run in one safetensors file: parameters, AdamW's moments, best parameters, progress.

It holds no random state. Order, silences, masks and dropout depend only on the seed and the place in the run
(training.corpus.batches). A resumed run therefore draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ssvd_asr.errors import SsvdError
from ssvd_asr.output_paths import naming
from ssvd_asr.tensor_files import save_tensors
from training.loop.identity import differences
from training.loop.processes import alike, whole

FORMAT = 2  # 1 did not record the domain, the scale and the test data
FILE_NAME = "checkpoint.safetensors"


class CheckpointError(SsvdError):
    """A checkpoint is unreadable or belongs to another run."""


@dataclass
class Progress:
    """The place of a run, always between two optimiser steps."""

    epoch: int = 0
    position: int = 0  # next batch of the epoch
    step: int = 0  # optimiser steps made, skipped ones included
    best_accuracy: float | None = None
    best_epoch: int | None = None
    epochs_since_best: int = 0
    skipped_steps: int = 0  # steps whose gradient was not finite
    skipped_in_a_row: int = 0
    elapsed_s: float = 0.0
    audio_s: float = 0.0  # padded audio trained on
    log_bytes: int = 0  # length of the log at this state
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch so far, weighted by rows
    finished: bool = False


def save_checkpoint(
    path: Path,
    progress: Progress,
    identity: Mapping[str, Any],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    best: Mapping[str, Tensor],
    *,
    write: bool = True,
) -> None:
    """Write a checkpoint atomically; a crash at any point leaves the previous one.

    Every process of a sharded run must call this, with `write` true in one of them.
    """
    tensors = {f"parameter/{name}": value.detach() for name, value in parameters.items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for name, value in parameters.items():
        tensors |= {
            f"optimizer/{name}/{key}": moment for key, moment in optimizer.state.get(value, {}).items()
        }
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor)  # by all processes; one at a time to spare the device's memory
        if write:
            kept[name] = gathered.cpu().contiguous()
    if not write:
        return
    metadata = {
        "format": str(FORMAT),
        "progress": json.dumps(asdict(progress)),
        "identity": json.dumps(dict(identity), sort_keys=True),
    }
    partial = path.with_name(path.name + ".partial")
    try:
        with naming(path):
            save_tensors(kept, partial, metadata)
            with partial.open("rb+") as stream:
                os.fsync(stream.fileno())
            os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load_checkpoint(
    path: Path,
    identity: Mapping[str, Any],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> tuple[Progress, dict[str, Tensor]]:
    """Restore ``parameters`` and ``optimizer``; return the progress and the best tensors.

    Raises:
        CheckpointError: unreadable, or made with other settings, data or base. The message names them.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no iterator)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    if metadata.get("format") != str(FORMAT):
        raise CheckpointError(
            f"checkpoint {path} has format {metadata.get('format')!r}, this version reads {FORMAT}"
        )
    _check_identity(path, json.loads(metadata["identity"]), identity)
    _restore(path, tensors, parameters, optimizer)
    best = {
        name: alike(tensors[f"best/{name}"], parameter)
        for name, parameter in parameters.items()
        if f"best/{name}" in tensors
    }
    return Progress(**json.loads(metadata["progress"])), best


def _check_identity(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if different := differences(stored, wanted):
        lines = "\n  ".join(different)
        raise CheckpointError(
            f"checkpoint {path} is of another run; give --resume its options, or another --out:\n  {lines}"
        )


def _restore(
    path: Path,
    tensors: Mapping[str, Tensor],
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    state = optimizer.state_dict()
    state["state"] = {}
    for index, (name, parameter) in enumerate(parameters.items()):
        stored = tensors.get(f"parameter/{name}")
        if stored is None or stored.shape != parameter.shape:
            raise CheckpointError(f"checkpoint {path} holds no {name} of shape {tuple(parameter.shape)}")
        with torch.no_grad():
            parameter.copy_(alike(stored, parameter))
        prefix = f"optimizer/{name}/"
        moments = {
            key.removeprefix(prefix): alike(value, parameter)
            for key, value in tensors.items()
            if key.startswith(prefix)
        }
        if moments:
            state["state"][index] = moments
    optimizer.load_state_dict(state)
