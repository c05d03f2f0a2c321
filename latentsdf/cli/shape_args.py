"""Shapes named on the command line: training ids, codes in files, and folders written by `latentsdf invert`."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsdf.utils.errors import CheckpointError, ConfigError, LatentSDFError

if TYPE_CHECKING:
    from latentsdf.latent.inversion.invert import Inversion
    from latentsdf.space import CodeLike, ShapeSpace

DELTA = "delta.npz"
LAYERS = "layers.npy"


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


def fits_in(space: "ShapeSpace", folder: Path, meshes: Collection[str]) -> tuple[dict[str, "CodeLike"], dict[str, str]]:
    """Every fit in a folder of `invert`, or the one it is, by the name of its mesh, and the reason for each unusable.

    That is the folder's name where one of the `meshes` has it, else the file name of the fit's target.
    """
    alone = (folder / "report.json").is_file()
    folders = [folder] if alone else sorted(report.parent for report in folder.glob("*/report.json"))
    if not folders:
        raise ConfigError(f"{folder}: holds no fit; write some with `latentsdf invert SPACE MESHES --out {folder}`")
    fits: dict[str, CodeLike] = {}
    failed: dict[str, str] = {}
    for one in folders:
        name = one.resolve().name
        try:
            fit = _read_fit(space, one)
            if name not in meshes:
                name = Path(json.loads((one / "report.json").read_text())["target"]).stem
            fits[name] = fit
        except LatentSDFError as error:
            failed[name] = str(error)
    return fits, failed


def read_code(space: "ShapeSpace", path: Path) -> "CodeLike":
    """What `invert` wrote into a folder, or a code.npy."""
    if path.is_dir():
        return _read_fit(space, path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such code file, nor a folder of latentsdf invert")
    return space.code(read_array(path))


def _read_fit(space: "ShapeSpace", folder: Path) -> "Inversion":
    import numpy as np

    from latentsdf.geometry.mesh import Similarity
    from latentsdf.latent.inversion.delta import Delta
    from latentsdf.latent.inversion.invert import Inversion

    missing = [name for name in ("report.json", "code.npy") if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder}: not a folder of latentsdf invert, {' and '.join(missing)} is missing")
    try:
        report = json.loads((folder / "report.json").read_text())
        way, residual, ok = report["similarity"], report["residual"], report["ok"]
        similarity = Similarity(tuple(way["center"]), way["scale"], way.get("yaw", 0.0))
        history = np.array(report["history"], dtype=np.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: not a folder of latentsdf invert, or a damaged one; invert again") from error
    if report.get("space", space.fingerprint) != space.fingerprint:
        raise CheckpointError(
            f"{folder}: fitted in another space, or in this one before it was trained on, so its code means something "
            "else here; invert the shape again"
        )
    delta = Delta.load(folder / DELTA) if report.get("refined") else None
    layers = read_array(folder / LAYERS) if report.get("by_layer") else None
    return Inversion(read_array(folder / "code.npy"), history, residual, ok, similarity, delta, layers)


def read_array(path: Path) -> Any:
    """The array of numbers in a .npy file; ConfigError for anything else."""
    import numpy as np

    try:
        array = np.load(path)
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path}: not an array written by numpy.save") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise ConfigError(f"{path}: not an array of real numbers written by numpy.save")
    return array
