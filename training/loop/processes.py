"""Training processes: how they share the batches of a step and add their gradients.

A step's batches are dealt out in turn and the gradients are added once per step. The step equals that of a
single process with accumulation. A checkpoint does not depend on the number of processes, so a run may resume
with another number. Lightning Fabric starts them (`ssvd train --processes N`), or torchrun.

Gradients are added after the step and not by torch's DistributedDataParallel. An adapter's cores are made
outside the network's forward pass, and the network's own parameters are frozen. With `--shard`, FSDP2 splits
the weights of a full fine-tuning over the processes and adds gradients itself in each backward pass.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ssvd_asr.device import resolve_device
from ssvd_asr.errors import SsvdError

if TYPE_CHECKING:
    from ssvd_asr.base.learner import Learner
    from ssvd_asr.base.model import BaseModel

BUCKET_NUMBERS = 16 * 2**20  # gradients added in one message: 64 MiB in float32


@dataclass(frozen=True)
class Turn:
    """One batch that this process computes."""

    index: int  # of the batch among those dealt out
    weight: float  # of its loss


class Processes:
    """A single process; subclasses share the work among several."""

    rank = 0
    count = 1
    sharded = False
    device: torch.device | None = None  # None: as the settings say

    @property
    def first(self) -> bool:
        """Whether this process writes the log, checkpoint and adapter."""
        return self.rank == 0

    def turns(self, batches: int) -> list[Turn]:
        """Return which of so many batches this process computes, in order."""
        return [Turn(index, 1.0) for index in range(batches)]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each `grad` by its sum over the processes; it stays None if no process has one."""

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a CPU tensor over the processes."""
        return values

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether any process has set it."""
        return list(flags)

    def shard(self, learner: Learner) -> None:
        """Split the network's weights over the processes in place, if the run is sharded."""

    def gather(self, base: BaseModel) -> None:
        """Replace a sharded network by one with whole weights on the CPU, in the first process."""

    def close(self) -> None:
        """Leave the process group."""


ALONE = Processes()


class Split:
    """FSDP2 on each of `layers`, then on the rest of the network, with its methods `passes`."""

    layers: Sequence[nn.Module] = ()
    passes: Sequence[str] = ()

    def __call__(self, network: Any, mesh: Any) -> Any:
        """Split the network over the mesh, in place."""
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        rows = mesh["data_parallel"]
        for layer in self.layers:
            fully_shard(layer, mesh=rows)
        split = fully_shard(network, mesh=rows)
        for name in self.passes:
            register_fsdp_forward_method(split, name)
        return split


class FabricProcesses(Processes):
    """Equal processes on one or several machines, each with its own device."""

    def __init__(self, fabric: Any, *, split: Split | None = None) -> None:
        """Wrap a launched lightning_fabric.Fabric. `split` is its strategy's, if the run is sharded."""
        self._fabric = fabric
        self._split = Split() if split is None else split
        self.rank = fabric.global_rank
        self.count = fabric.world_size
        self.sharded = split is not None
        self.device = fabric.device

    def turns(self, batches: int) -> list[Turn]:
        """Return every `count`-th batch.

        In a sharded run every process must compute equally many, so some repeat a batch with weight 0. FSDP
        averages the processes' gradients, so the others have weight `count`.
        """
        own = range(self.rank, batches, self.count)
        if not self.sharded:
            return [Turn(index, 1.0) for index in own]
        idle = -(-batches // self.count) - len(own)
        return [*(Turn(index, float(self.count)) for index in own), *[Turn(0, 0.0)] * idle]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        if self.sharded:
            return
        parameters = list(parameters)
        have = torch.tensor([float(parameter.grad is not None) for parameter in parameters])
        reached = [p for p, some in zip(parameters, self.total(have).tolist(), strict=True) if some]
        for bucket in _buckets(reached):
            flat = torch.cat([(p.new_zeros(p.shape) if p.grad is None else p.grad).flatten() for p in bucket])
            parts = torch.split(self._sum(flat), [p.numel() for p in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter)

    def total(self, values: Tensor) -> Tensor:
        return self._sum(values.to(self._fabric.device)).to(values.device)

    def any(self, *flags: bool) -> list[bool]:
        return [found > 0 for found in self.total(torch.tensor([float(flag) for flag in flags])).tolist()]

    def shard(self, learner: Learner) -> None:
        if self.sharded:
            self._split.layers, self._split.passes = learner.layers(), learner.passes
            self._fabric.setup_module(learner.network)

    def gather(self, base: BaseModel) -> None:
        if not self.sharded:
            return
        from ssvd_asr.base.weights import load_weights

        state = {name: whole(tensor.detach()).cpu() for name, tensor in base.network.state_dict().items()}
        if self.first:
            network = base.empty_network()
            load_weights(network, state, "the sharded network")
            base.network = network

    def close(self) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def _sum(self, values: Tensor) -> Tensor:
        summed: Tensor = self._fabric.all_reduce(values, reduce_op="sum")
        return summed


def launch(count: int, device: str, *, sharded: bool = False) -> Processes:
    """Start `count` processes of this command, or join those of torchrun; return this one's `Processes`.

    A single process does not import Lightning Fabric.

    Raises SsvdError if the options contradict each other, ModuleNotFoundError if Fabric is not installed.
    """
    started = int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else None
    if started is not None and count not in (1, started):
        raise SsvdError(f"--processes is {count}, but torchrun started {started}: leave the option out")
    if (started or count) == 1:
        if sharded:
            raise SsvdError("--shard splits the weights over several processes: give --processes")
        return ALONE
    if ":" in device:
        raise SsvdError(f"--device {device} is one device; several processes take one each: use cuda")
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces each process
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count)) if started else count
    machines = (started or count) // here
    strategy: Any = "ddp"
    split = Split() if sharded else None
    if split is not None:
        strategy = ModelParallelStrategy(split, data_parallel_size=here * machines, tensor_parallel_size=1)
    kind = resolve_device(device).type
    fabric = Fabric(accelerator=kind, devices=here, num_nodes=machines, strategy=strategy)
    fabric.launch()
    return FabricProcesses(fabric, split=split)


def whole(tensor: Tensor) -> Tensor:
    """Return a sharded tensor whole; every process must call this. Any other tensor is returned unchanged."""
    gather = getattr(tensor, "full_tensor", None)  # a DTensor's, without importing its module
    return tensor if gather is None else gather()


def alike(tensor: Tensor, like: Tensor) -> Tensor:
    """Split a whole tensor like `like`, if that is sharded; otherwise return it unchanged."""
    mesh = getattr(like, "device_mesh", None)
    if mesh is None or tensor.shape != like.shape:  # the optimiser's step counter has no shards
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), mesh, like.placements)  # type: ignore[attr-defined]


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        if bucket and sum(p.numel() for p in bucket) + parameter.numel() > BUCKET_NUMBERS:
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
