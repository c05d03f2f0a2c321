"""Refusal of models that cannot fit into the memory of a device, before they are allocated."""

import psutil
import torch
from torch import nn

from latentsdf.utils.errors import ConfigError

_BYTES_PER_PARAMETER = 16
"""Of a parameter that Adam updates: value, gradient and two moments in float32."""


def require_memory(needed: int, what: str, device: torch.device, advice: str) -> None:
    """Raise ConfigError if a device has less memory in total than something needs.

    Args:
        needed: Estimate in bytes.
        what: What needs it, such as "the model".
        device: Device whose memory is used.
        advice: What to change.

    Raises:
        ConfigError: The device does not have so much memory; the message has the estimate.
    """
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    else:
        total = psutil.virtual_memory().total
    if needed > total:
        raise ConfigError(
            f"{what} needs about {needed / 1e9:,.1f} GB, but {device} has {total / 1e9:,.1f} GB; {advice}"
        )


def training_bytes(*modules: nn.Module | None) -> int:
    """Estimate the memory of the parameters of modules that are trained, which may be on the device `meta`."""
    count = sum(parameter.numel() for module in modules if module is not None for parameter in module.parameters())
    return _BYTES_PER_PARAMETER * count
