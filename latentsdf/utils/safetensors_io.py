"""Writing of .safetensors files."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a .safetensors file with the default permissions of new files.

    Args:
        tensors: Tensors by name, on any device; views are written as contiguous copies.
        path: Destination; an existing file is replaced and keeps its permissions.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)
    # save_file restricts the permissions to the owner.
    path.chmod(mode)
