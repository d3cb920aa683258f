"""A CUDA device that computes on the CPU. It finds what is left on the wrong device, without a GPU.

Inside `pretend_cuda` tensors on `cuda` keep their values in the host's memory. As on a GPU, an operation on
tensors of both devices raises RuntimeError, but for single numbers and indices on the CPU. Not shown:
kernels, streams, recorded graphs, pinned memory, backward passes and other threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from ssvd_asr.base.step_graph import StepGraphs

CUDA = torch.device("cuda", 0)
MEMORY_BYTES = 2**34
_aten = torch.ops.aten
_MOVES = (_aten._to_copy.default, _aten.copy_.default)
# Their indices, or lengths, may be on the CPU.
_INDEXED = (_aten.index.Tensor, _aten.index_put_.default, _aten._ctc_loss.Tensor)
_FOREIGN = {
    _aten._use_cudnn_ctc_loss.Tensor,
    _aten._use_miopen_ctc_loss.Tensor,
}  # whether another library would


class Pretended(Tensor):
    """A tensor on the pretended device."""

    held: Tensor  # the values, on the CPU

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        made: Pretended = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=CUDA, requires_grad=held.requires_grad,
        )  # fmt: skip
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})

    # What torch does below its dispatcher, and would ask a driver for.
    def __getitem__(self, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        return super().__getitem__(tuple(torch.tensor(x) if isinstance(x, list) else x for x in parts))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        found = self.detach().clone().requires_grad_(self.requires_grad)
        found._is_param = getattr(self, "_is_param", False)  # type: ignore[attr-defined]
        memo[id(self)] = found
        return found

    def new(self, *args: Any) -> Tensor:
        return self.held.new(*args).to(CUDA)

    def tolist(self) -> Any:
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()


class _NewTensors(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _held(tensor: Tensor) -> Tensor:
    return tensor.held if isinstance(tensor, Pretended) else tensor


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func in _FOREIGN:
        return False
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = any(isinstance(each, Pretended) for each in tensors)
    here = any(each.ndim > 0 and not isinstance(each, Pretended) for each in tensors)
    if there and here and func not in (*_MOVES, *_INDEXED):
        raise RuntimeError(f"{func}: its tensors are on cuda:0 and on the CPU")
    device = kwargs.get("device")
    if func is _aten.copy_.default:
        there = isinstance(args[0], Pretended)
    elif device is not None:
        there = torch.device(device).type == "cuda"
    changed = {name: value for name, value in kwargs.items() if name not in ("device", "pin_memory")}
    if device is not None:
        changed["device"] = "cpu"
    found = func(*tree_map_only(Tensor, _held, args), **tree_map_only(Tensor, _held, changed))
    if there:
        found = tree_map_only(Tensor, Pretended, found)
    of_there = any(isinstance(each, Pretended) for each in tensors)
    return return_and_correct_aliasing(func, args, kwargs, found) if there and of_there else found


@contextmanager
def pretend_cuda() -> Iterator[torch.device]:
    """Make the device for the block, in this thread. Tensors on it must not be used afterwards."""
    tensor = torch.tensor

    def made(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        found = tensor(*args, **kwargs)
        return found if device is None else found.to(device)

    told: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "is_bf16_supported": lambda *_, **__: True,
        "synchronize": lambda *_: None,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda *_: None,  # numbers are drawn on the CPU
        "get_device_properties": lambda *_: SimpleNamespace(total_memory=MEMORY_BYTES),
    }
    future = torch.__future__
    before = future.get_overwrite_module_params_on_conversion()
    with ExitStack() as changes:
        changes.enter_context(mock.patch.multiple(torch.cuda, **told))
        changes.enter_context(mock.patch.object(torch, "tensor", made))
        changes.enter_context(mock.patch.object(torch, "inference_mode", torch.no_grad))
        changes.enter_context(mock.patch.object(StepGraphs, "run", lambda _, __, step: step()))
        changes.callback(future.set_overwrite_module_params_on_conversion, before)
        future.set_overwrite_module_params_on_conversion(True)  # a module's `to` makes new parameters
        torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
        changes.enter_context(_NewTensors())
        yield CUDA
