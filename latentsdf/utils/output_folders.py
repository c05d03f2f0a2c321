"""Guards against overwriting existing outputs, and against writing through symbolic links.

Each kind of output folder is recognized by a marker file.
"""

from pathlib import Path
from typing import Literal

from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError
from latentsdf.utils.object_storage import ObjectPath, locate

OutputKind = Literal["space", "field", "fit", "store"]

_MARKERS: dict[OutputKind, tuple[str, str]] = {
    "space": ("model.safetensors", "a trained space"),
    "field": ("field.json", "a reconstruction"),
    "fit": ("code.npy", "the fit of a shape"),
    "store": ("zarr.json", "a sample store"),
}
"""Marker file and description of each kind of output."""


def find_other_output(folder: Path, kind: OutputKind) -> str | None:
    """Return a description of an output of another kind in a folder, or None.

    Args:
        folder: Folder, which need not exist.
        kind: Kind of output that may be there.

    Returns:
        Description with its article, such as "a reconstruction".
    """
    others = (marker for other, marker in _MARKERS.items() if other != kind)
    return next((description for file, description in others if (folder / file).is_file()), None)


def require_writable_output(
    out: Path, kind: OutputKind, *, overwrite: bool, instead: str = "pass --overwrite, or another --out"
) -> None:
    """Raise an error if writing to a folder would overwrite an output or mix two kinds of outputs.

    Args:
        out: Output folder, which need not exist.
        kind: Kind of output to write.
        overwrite: Whether an output of the same kind may be replaced.
        instead: Advice in the error message for an output of the same kind.

    Raises:
        CheckpointError: The folder holds an output of another kind, or, without `overwrite`, of the same kind.
        ConfigError: The folder is the URL of an object storage, which holds sample stores only.
    """
    if isinstance(locate(out), ObjectPath):
        raise ConfigError(f"{out}: only sample stores can be in object storage; name a folder on disk")
    if other := find_other_output(out, kind):
        raise CheckpointError(f"{out}: holds {other}; name another --out")
    file, description = _MARKERS[kind]
    if (out / file).is_file() and not overwrite:
        raise CheckpointError(f"{out}: holds {description} already; {instead}")


def require_no_links(root: Path, *parts: str, error: type[LatentSDFError] = CheckpointError) -> Path:
    """Return a path below a folder, to be written or deleted; raise an error if that would follow a symbolic link.

    Args:
        root: Folder that the user named; it may be a link.
        *parts: Names of the folders below it, and of the file.
        error: Exception to raise.

    Raises:
        LatentSDFError: One of the parts is a symbolic link.
    """
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise error(
                f"{path}: is a symbolic link, so that files outside {root} would be changed; remove it, or name the "
                "folder that it points to"
            )
    return path
