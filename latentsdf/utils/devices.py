"""Selection of torch devices and their properties."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from latentsdf.utils.errors import ConfigError


def resolve(name: str | torch.device) -> torch.device:
    """Convert the name of a device to an available torch device.

    Args:
        name: `cpu`, `cuda`, `cuda:N`, `mps` (Apple), or `auto` for CUDA if available and the CPU otherwise.

    Returns:
        Device.

    Raises:
        ConfigError: The name is unknown or the device is not available.
    """
    unknown = ConfigError(f"unknown device {name!r}; devices are auto, cpu, cuda, cuda:N and mps")
    if not isinstance(name, str | torch.device):
        raise unknown
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise unknown
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device '{name}' is not available: torch finds {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device '{name}' is not available: it needs a Mac with Apple silicon and torch built for it")
    return device


def free_gpu_memory(device: torch.device) -> int:
    """Return the free memory of a GPU in bytes; 0 for other devices."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


def matmul_dtype(device: torch.device) -> torch.dtype:
    """Return the fastest of float32 and bfloat16 for matrix products on a device.

    Args:
        device: A device that `resolve` returned.

    Returns:
        bfloat16 on GPUs of compute capability 8.0 or higher and on CPUs with AVX512-BF16 or AMX, else float32.
    """
    if device.type == "mps":
        return torch.float32
    if device.type == "cuda":
        has_fast_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        has_fast_bfloat16 = bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return torch.bfloat16 if has_fast_bfloat16 else torch.float32


@contextmanager
def without_values() -> Iterator[None]:
    """Create the tensors of the block on the meta device: they have shapes but no values.

    Modules that are built in the block take neither memory nor time. Their weights are not drawn: for meta tensors,
    torch does so by code in Python, whose first use imports its compiler, which takes seconds.
    """
    with torch.device("meta"), _NoRandomNumbers():
        yield


class _NoRandomNumbers(TorchFunctionMode):
    """Leaves tensors as they are where they would be filled with initial values or random numbers."""

    def __torch_function__(
        self, func: Callable[..., Any], _: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        is_initialization = getattr(func, "__module__", None) == torch.nn.init.__name__
        if is_initialization or func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
