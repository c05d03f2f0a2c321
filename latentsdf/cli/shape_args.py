"""Shapes as a command line names them: ids, codes in files, folders of earlier fits, targets."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.space import CodeLike, ShapeSpace


def query(space: "ShapeSpace", arguments: argparse.Namespace) -> "CodeLike":
    """The one shape that is named; ConfigError where none is."""
    if arguments.id is not None:
        space.row(arguments.id)
        name: str = arguments.id
        return name
    if arguments.code is not None:
        return read_code(space, arguments.code)
    further = ", or --mesh FILE" if hasattr(arguments, "mesh") else ""
    raise ConfigError(f"name a shape: --id ID of a training shape, or --code FOLDER|FILE.npy{further}")


def queries(space: "ShapeSpace", arguments: argparse.Namespace) -> "dict[str, CodeLike]":
    """The shapes that are named where several may be, by what stands under them."""
    if arguments.id is None:
        return {"": query(space, arguments)}
    for name in arguments.id:
        space.row(name)
    return {name: name for name in arguments.id}


def named_code(space: "ShapeSpace", name: str) -> "CodeLike":
    """A training shape by id, or what `invert` wrote: its folder, or a code.npy."""
    path = Path(name)
    if path.suffix == ".npy" or (path / "report.json").is_file():
        return read_code(space, path)
    space.row(name)
    return name


def read_code(space: "ShapeSpace", path: Path) -> "CodeLike":
    """What `invert` wrote into a folder, or a code.npy."""
    from latentsdf.latent.inversion.fit_folder import Inversion, load_code

    code = load_code(path, space.fingerprint)
    return code if isinstance(code, Inversion) else space.code(code)
