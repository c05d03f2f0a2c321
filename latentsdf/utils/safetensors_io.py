"""Writing of .safetensors files, and the shapes of the tensors in them."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


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


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors in a file, by name, without reading them.

    Raises:
        SafetensorError: The file is damaged; safetensors compares the declared sizes with the size of the file.
    """
    with safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters and buffers of a module, by name."""
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}
