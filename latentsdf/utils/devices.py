"""Device names of users -> torch devices."""

import torch

from latentsdf.utils.errors import ConfigError


def resolve(name: str | torch.device) -> torch.device:
    """`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`; ConfigError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unknown = ConfigError(f"unknown device '{name}'; devices are auto, cpu, cuda and cuda:N")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown from error
    if device.type not in ("cpu", "cuda"):
        raise unknown
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device '{name}' is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def free_gpu_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU; 0 for other devices, whose memory is the system's."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


def matmul_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where products in it are quicker, on GPUs and processors with AVX512-BF16 or AMX; else float32."""
    if device.type == "cuda":
        quick = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        quick = bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return torch.bfloat16 if quick else torch.float32
