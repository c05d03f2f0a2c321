"""Shapes given on the command line: training ids, codes in files, and folders written by `latentsdf invert`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.space import CodeLike, ShapeSpace


def query(space: "ShapeSpace", id: str | None, code: Path | None, *, mesh: bool = False) -> "CodeLike":
    """Return the shape given by `--id` or `--code`.

    Args:
        space: The space that decodes the shape.
        id: Value of `--id`, or None.
        code: Value of `--code`, or None.
        mesh: Mention `--mesh` in the error message.

    Raises:
        ConfigError: Neither is given, or the id is unknown.
    """
    if id is not None:
        space.row(id)
        return id
    if code is not None:
        return read_code(space, code)
    alternative = ", or --mesh FILE" if mesh else ""
    raise ConfigError(f"no shape is given: pass --id ID of a training shape, or --code FOLDER|FILE.npy{alternative}")


def queries(
    space: "ShapeSpace", ids: Sequence[str] | None, code: Path | None, *, mesh: bool = False
) -> "dict[str, CodeLike]":
    """Return the shapes given by `--id` or `--code`, by caption; `query` for several ids."""
    if ids is None:
        return {"": query(space, None, code, mesh=mesh)}
    return {name: query(space, name, None) for name in ids}


def named_code(space: "ShapeSpace", name: str) -> "CodeLike":
    """Return the shape given by an id of a training shape, a folder written by `latentsdf invert`, or a code.npy."""
    from latentsdf.latent.inversion.fit_folder import is_fit_folder

    path = Path(name)
    if path.suffix == ".npy" or is_fit_folder(path):
        return read_code(space, path)
    space.row(name)
    return name


def read_code(space: "ShapeSpace", path: Path) -> "CodeLike":
    """Read the fit from a folder written by `latentsdf invert`, or the code from a code.npy."""
    from latentsdf.latent.inversion.fit_folder import Inversion, load_code

    code = load_code(path, space.fingerprint, verify=space.verifies)
    return code if isinstance(code, Inversion) else space.code(code)
