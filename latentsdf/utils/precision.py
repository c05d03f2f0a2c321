"""float64 on devices that have it; Apple's mps has none."""

import torch
from torch import Tensor


def has_float64(device: torch.device) -> bool:
    """Return whether a device computes in float64."""
    return device.type != "mps"


def widened(values: Tensor) -> Tensor:
    """Convert to float64; on the CPU, if the device has no float64. `.to(values)` converts a result back."""
    return (values if has_float64(values.device) else values.cpu()).double()


def widest(values: Tensor) -> Tensor:
    """Convert to float64 on devices that have it; on others, return floating-point values unchanged."""
    return values.double() if has_float64(values.device) else values
