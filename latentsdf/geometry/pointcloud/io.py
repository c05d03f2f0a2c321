"""Reading of point clouds, signed samples and meshes from files.

A table has one point per row; `point_table` describes the meaning of its columns, and of the arrays of an .npz file.

| suffix | contents |
|---|---|
| .npy | one table, or a structured array with named columns |
| .npz | one table with any name, or `points` (`surface_points`) and optionally `normals` (`surface_normals`) or `sdf` |
| .txt, .xyz, .pts | numbers separated by spaces; a first line with a single number, the count, is skipped |
| .csv | numbers separated by commas |
| .txt, .xyz, .pts, .csv | a first line with words, such as `x y z nx ny nz intensity`, names the columns |
| .ply | vertices with normals, if listed; with faces, a mesh for `load_mesh_or_points` |
| .obj | vertices; always a mesh for `load_mesh_or_points` |
"""

import warnings
from pathlib import Path

import numpy as np
import trimesh
from trimesh.exchange.ply import load_ply

from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.pointcloud.point_cloud import require_usable_points
from latentsdf.geometry.pointcloud.point_table import PointTable, point_table, table_from_arrays, table_from_columns
from latentsdf.utils.errors import MeshError

_TEXT_DELIMITERS = {".txt": None, ".xyz": None, ".pts": None, ".csv": ","}
SUFFIXES = (".npy", ".npz", *_TEXT_DELIMITERS, ".ply", ".obj")
"""Suffixes of supported point files."""


def load_mesh_or_points(path: Path | str) -> trimesh.Trimesh | PointTable:
    """Read a mesh or a table of points, depending on the format; a .ply file with faces is a mesh.

    Args:
        path: File with a suffix of `mesh.SUFFIXES` or `SUFFIXES`.

    Returns:
        Mesh as returned by `latentsdf.geometry.mesh.load`, or points as returned by `load_points`.

    Raises:
        FileNotFoundError: If the file does not exist.
        MeshError: If the format is not supported, or `latentsdf.geometry.mesh.load` or `load_points` rejects the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    require_file(path)
    if suffix not in meshes.SUFFIXES and suffix not in SUFFIXES:
        supported = ", ".join(dict.fromkeys((*meshes.SUFFIXES, *SUFFIXES)))
        raise MeshError(f"{path.name}: '{path.suffix}' files are not supported; convert to one of {supported}")
    is_mesh = suffix in meshes.SUFFIXES and (suffix != ".ply" or path.stat().st_size == 0 or _declares_faces(path))
    return meshes.load(path) if is_mesh else load_points(path)


def load_points(path: Path | str) -> PointTable:
    """Read a table of points, or the vertices of a mesh file.

    Args:
        path: File with one of `SUFFIXES`; the module describes the formats.

    Returns:
        The points, with normals or signed distances if the file has them.

    Raises:
        FileNotFoundError: If the file does not exist.
        MeshError: If the format is not supported, the file is empty or damaged, or `require_usable_points` rejects the
            table. The message starts with the file name.
    """
    path = Path(path)
    require_file(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MeshError(f"{path.name}: points are read from {', '.join(SUFFIXES)}, not from '{suffix}'")
    if path.stat().st_size == 0:
        raise MeshError(f"{path.name}: the file is empty")
    table = _read(path)
    require_usable_points(path.name, table)
    return table


def require_file(path: Path) -> None:
    """Raise FileNotFoundError if a path is not a file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder; name a file' if path.is_dir() else 'no such file'}")


def _read(path: Path) -> PointTable:
    suffix = path.suffix.lower()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if suffix in _TEXT_DELIMITERS:
                return _read_text(path)
            if suffix == ".ply":
                return _read_ply(path)
            return _read_obj(path) if suffix == ".obj" else _read_arrays(path)
    except MeshError:
        raise
    # numpy's and trimesh's readers raise exceptions of many types for damaged files.
    except Exception as error:
        raise MeshError(
            f"{path.name}: cannot be read, the file is damaged, truncated or not a table of numbers ({error!r:.120})"
        ) from error


def _read_arrays(path: Path) -> PointTable:
    loaded = np.load(path)
    if not isinstance(loaded, np.ndarray):
        with loaded:
            return table_from_arrays(path.name, dict(loaded))
    if loaded.dtype.names:
        return table_from_columns(path.name, {key: loaded[key] for key in loaded.dtype.names})
    return point_table(path.name, loaded)


def _read_text(path: Path) -> PointTable:
    delimiter = _TEXT_DELIMITERS[path.suffix.lower()]
    with path.open() as file:
        first = file.readline()
    words = [word.strip().strip('"') for word in first.lstrip("#").split(delimiter)]
    named = len(words) > 1 and {"x", "y"} <= {word.lower() for word in words}
    table = np.loadtxt(path, delimiter=delimiter, skiprows=int(named or len(words) == 1), ndmin=2)
    if not named:
        return point_table(path.name, table)
    if table.shape[1] != len(words):
        raise MeshError(f"{path.name}: the first line names {len(words)} columns, but there are {table.shape[1]}")
    return table_from_columns(path.name, dict(zip(words, table.T, strict=True)))


def _read_obj(path: Path) -> PointTable:
    return PointTable(np.asarray(trimesh.load(path, process=False).vertices, dtype=np.float64))  # type: ignore[union-attr]


def _read_ply(path: Path) -> PointTable:
    """Return the vertices, with normals if the file lists them."""
    with path.open("rb") as file:
        contents = load_ply(file, fix_texture=False, skip_materials=True)
    return point_table(path.name, contents.get("vertices", np.empty((0, 3))), contents.get("vertex_normals"))


def _declares_faces(path: Path) -> bool:
    """Return whether the header of a .ply file declares faces, without parsing the body."""
    with path.open("rb") as file:
        for line in file:
            words = line.split()
            if words[:2] == [b"element", b"face"]:
                return words[2:] != [b"0"]
            if words == [b"end_header"]:
                break
    return False
