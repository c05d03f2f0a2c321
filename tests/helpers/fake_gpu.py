"""A CUDA device without memory, on any build of torch: which device each tensor is on, and what waits for the device.

Within `fake_gpu`, tensors have a shape, a type and a device, but no values (`FakeTensorMode`). An operation on tensors
of two devices raises, as on a GPU. Where a program needs values, it gets fixed ones: numbers and arrays of ones, `True`
for conditions (values count as finite), all elements for masks and `nonzero`, and no duplicates for `unique`. Each such
wait of the host for the device, and each copy between them, is recorded.

torch 2.13 without CUDA has no guard and no accelerator for `cuda`, so the autograd engine, which runs in C++, aborts
or raises there. It is told that the tensors are on `meta`, whose operations it runs in the calling thread, while Python
and the operations see `cuda:0`. So autocasting has no effect, and a choice of C++ by device is not covered.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

GPU = torch.device("cuda:0")

_aten = torch.ops.aten
_FINITE = (torch.isfinite, Tensor.isfinite)
_REDUCED = (Tensor.__invert__, Tensor.bitwise_not, Tensor.any, Tensor.all, Tensor.sum)


class FakeGpu:
    """The fake device, and what was read from it and copied to it.

    Attributes:
        waits: Number of times that the host waited for the device, by operation: `item`, `tolist`, `numpy`, `nonzero`
            (also boolean masks as indices), `unique`, `to the host`, `check` (of a factorization).
        uploads: Number of copies from the host to the device. They wait, too, unless the memory is pinned.
    """

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.uploads = 0

    def tolist(self, values: Tensor) -> Any:
        """`Tensor.tolist`, in a single copy; `FakeTensor` reads each value."""
        if values.device.type == "cuda":
            self.waits["tolist"] += 1
        return _ones(values).tolist()

    def reset(self) -> None:
        """Set all counts to 0."""
        self.waits.clear()
        self.uploads = 0


@contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """Replace tensors that are created within the context by fake ones; those on the device are on `GPU`."""
    gpu = FakeGpu()
    with ExitStack() as stack:
        stack.enter_context(patch("torch.cuda.get_device_capability", lambda *_: (9, 0)))
        stack.enter_context(patch("torch.cuda.mem_get_info", lambda *_: (1 << 36, 1 << 36)))
        stack.enter_context(patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
        stack.enter_context(patch("torch.cuda.is_bf16_supported", lambda *_: True))
        stack.enter_context(patch.object(nn.Module, "to", _module_to))
        stack.enter_context(patch.object(FakeTensor, "tolist", lambda values: gpu.tolist(values)))
        # Tensors of the host that were created before are used as fake ones: still on the host.
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(_Dispatched(gpu))
        stack.enter_context(_Called(gpu))
        yield gpu


def _device_for_cpp(values: FakeTensor) -> torch.device:
    """What C++ sees as the device of a tensor: `prim.device` is asked by C++ only."""
    return torch.device("meta") if values.fake_device.type == "cuda" else values.fake_device


def _module_to(module: nn.Module, device: torch.device | str | Tensor) -> nn.Module:
    """`nn.Module.to`, which cannot replace parameters by fake ones."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = buffer.to(device)
    return module


def _ones(values: Tensor) -> NDArray[Any]:
    return np.ones(tuple(values.shape), dtype=str(values.dtype).removeprefix("torch."))


def _on_gpu(value: object) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cuda"


class _Dispatched(TorchDispatchMode):
    """Gives values to operations that need them, and records waits and copies."""

    def __init__(self, gpu: FakeGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if func is torch.ops.prim.device.default:
            return _device_for_cpp(first)
        args, kwargs = tree_map(_as_seen_by_python, (args, kwargs))
        packet = func.overloadpacket
        if packet is _aten.uniform_:  # decomposed below this mode, where C++ sees `cuda`; there are no values to draw
            return first
        if packet is _aten._local_scalar_dense:
            self._wait("item", first)
            return {torch.bool: True}.get(first.dtype, 1.0 if first.is_floating_point() else 1)
        if packet is _aten.equal:
            self._wait("item", first)
            return True
        if packet is _aten.nonzero:
            return self._nonzero(first)
        if packet in (_aten._unique2, _aten.unique_consecutive):
            self._wait("unique", first)
            distinct = first.reshape(-1)
            counts = torch.ones_like(distinct, dtype=torch.long)
            return distinct.clone(), torch.zeros_like(first, dtype=torch.long), counts
        if packet is _aten._linalg_check_errors:
            self._wait("check", first)
            return None
        if packet in (_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_):
            args = (first, self._indices(first.device, args[1]), *args[2:])
        elif packet is _aten._to_copy:
            self._copy(first.device, kwargs.get("device") or first.device)
        elif packet is _aten.copy_:
            self._copy(args[1].device, first.device)
        return func(*args, **kwargs)

    def _wait(self, name: str, values: Tensor) -> None:
        if _on_gpu(values):
            self._gpu.waits[name] += 1

    def _copy(self, source: torch.device, target: torch.device) -> None:
        if source.type == "cuda" and target.type == "cpu":
            self._gpu.waits["to the host"] += 1
        elif source.type == "cpu" and target.type == "cuda":
            self._gpu.uploads += 1

    def _nonzero(self, values: Tensor) -> Tensor:
        self._wait("nonzero", values)
        return values.new_zeros(values.numel(), values.ndim, dtype=torch.long)

    def _indices(self, device: torch.device, indices: Any) -> list[Tensor | None]:
        """Indices on the device of the indexed tensor, without masks."""
        found: list[Tensor | None] = []
        for index in indices:
            if index is None:
                found.append(None)
                continue
            if device.type == "cpu" and _on_gpu(index):
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
            self._copy(index.device, device)
            found += self._nonzero(index).unbind(1) if index.dtype in (torch.bool, torch.uint8) else [index]
        return found


def _as_seen_by_python(value: object) -> object:
    return GPU if isinstance(value, torch.device) and value.type == "meta" else value


class _Called(TorchFunctionMode):
    """Gives values to functions that read memory without an operation of torch."""

    def __init__(self, gpu: FakeGpu) -> None:
        super().__init__()
        self._gpu = gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.numpy:
            if _on_gpu(args[0]):
                if not (kwargs.get("force") or args[1:]):
                    raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu()")
                self._gpu.waits["numpy"] += 1
            return _ones(args[0])
        if func in _FINITE:
            result = func(*args, **kwargs)
            result.known = True
            return result
        known = getattr(args[0], "known", None) if args else None
        if known is not None and func in _REDUCED:
            result = func(*args, **kwargs)
            result.known = known != (func in (Tensor.__invert__, Tensor.bitwise_not))
            return result
        if known is not None and func in (Tensor.__bool__, Tensor.__int__):
            if _on_gpu(args[0]):
                self._gpu.waits["item"] += 1
            return known if func is Tensor.__bool__ else int(known)
        if func == Tensor.is_meta.__get__:  # type: ignore[attr-defined]
            return False
        return func(*args, **kwargs)
