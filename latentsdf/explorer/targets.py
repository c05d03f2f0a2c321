"""What `latentsdf view` shows: a space, a field or a sample store, recognized by the files in its folder."""

from typing import Literal

from latentsdf.utils.errors import ConfigError
from latentsdf.utils.object_storage import ObjectPath, locate

TargetKind = Literal["space", "field", "store"]


def kind_of(target: str) -> TargetKind:
    """Return the kind of a target.

    Args:
        target: Folder of a space, a field or a sample store, or URL of a sample store; anything else that
            `latentsdf.load` accepts is a space.

    Raises:
        ConfigError: The target is a file, or a folder of another kind.
    """
    if isinstance(path := locate(target), ObjectPath):
        return "store"
    if path.is_file():
        raise ConfigError(
            f"{target}: is a file; view shows the folder of a space, of a field that `latentsdf reconstruct` wrote, or "
            "of a sample store"
        )
    if (path / "field.json").is_file():
        return "field"
    if (path / "zarr.json").is_file():
        return "store"
    if path.is_dir() and not any((path / name).is_file() for name in ("shapes.json", "config.yaml", "manifest.json")):
        raise ConfigError(
            f"{target}: has neither a space, nor a field, nor a sample store; pass the folder that `latentsdf train`, "
            "`latentsdf reconstruct` or `latentsdf-preprocess` wrote"
        )
    return "space"
