"""Shapes named on the command line: training ids, codes in files, and folders written by `latentsdf invert`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.space import CodeLike, ShapeSpace


def query(space: "ShapeSpace", id: str | None, code: Path | None, *, mesh: bool = False) -> "CodeLike":
    """The shape named by `--id` or `--code`.

    Args:
        space: The space that decodes the shape.
        id: Value of `--id`.
        code: Value of `--code`.
        mesh: Whether the command has `--mesh`, too.

    Raises:
        ConfigError: If neither is given.
    """
    if id is not None:
        space.row(id)
        return id
    if code is not None:
        return read_code(space, code)
    further = ", or --mesh FILE" if mesh else ""
    raise ConfigError(f"name a shape: --id ID of a training shape, or --code FOLDER|FILE.npy{further}")


def queries(
    space: "ShapeSpace", ids: Sequence[str] | None, code: Path | None, *, mesh: bool = False
) -> "dict[str, CodeLike]":
    """The shapes named by `--id` or `--code`, by caption; as `query` for several ids."""
    if ids is None:
        return {"": query(space, None, code, mesh=mesh)}
    return {name: query(space, name, None) for name in ids}


def named_code(space: "ShapeSpace", name: str) -> "CodeLike":
    """A training shape by id, a folder written by `latentsdf invert`, or a code.npy."""
    path = Path(name)
    if path.suffix == ".npy" or (path / "report.json").is_file():
        return read_code(space, path)
    space.row(name)
    return name


def read_code(space: "ShapeSpace", path: Path) -> "CodeLike":
    """The fit in a folder written by `latentsdf invert`, or the code in a code.npy."""
    from latentsdf.latent.inversion.fit_folder import Inversion, load_code

    code = load_code(path, space.fingerprint)
    return code if isinstance(code, Inversion) else space.code(code)
