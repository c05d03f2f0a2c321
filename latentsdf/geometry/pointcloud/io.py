"""Reading of point clouds, signed samples and meshes from files.

A table has one point per row: planar points (N, 2), points (N, 3), signed samples x, y, z, d (N, 4), or points with
normals (N, 6).

| suffix | contents |
|---|---|
| .npy | one table |
| .npz | one table with any name, or `points` (`surface_points`) and optionally `normals` (`surface_normals`) |
| .txt, .xyz, .pts | numbers separated by spaces; a first line with a single number, the count, is skipped |
| .csv | numbers separated by commas |
| .ply | vertices with normals, if listed; with faces, a mesh for `load_mesh_or_points` |
| .obj | vertices; always a mesh for `load_mesh_or_points` |
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from trimesh.exchange.ply import load_ply

from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.pointcloud.point_cloud import as_table, require_usable_points
from latentsdf.utils.errors import MeshError

Floats = NDArray[np.float64]

_TEXT_DELIMITERS = {".txt": None, ".xyz": None, ".pts": None, ".csv": ","}
SUFFIXES = (".npy", ".npz", *_TEXT_DELIMITERS, ".ply", ".obj")
"""Suffixes of supported point files."""
_POINT_KEYS, _NORMAL_KEYS = ("points", "surface_points"), ("normals", "surface_normals")


def load_mesh_or_points(path: Path | str) -> trimesh.Trimesh | Floats:
    """Read a mesh or a table of points, depending on the format; a .ply file with faces is a mesh.

    Args:
        path: File with a suffix of `mesh.SUFFIXES` or `SUFFIXES`.

    Returns:
        Mesh as returned by `latentsdf.geometry.mesh.load`, or table as returned by `load_points`.

    Raises:
        FileNotFoundError: If the file does not exist.
        MeshError: If the format is not supported, or `latentsdf.geometry.mesh.load` or `load_points` rejects the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if suffix not in meshes.SUFFIXES and suffix not in SUFFIXES:
        supported = ", ".join(dict.fromkeys((*meshes.SUFFIXES, *SUFFIXES)))
        raise MeshError(f"{path.name}: '{path.suffix}' files are not supported; convert to one of {supported}")
    is_mesh = suffix in meshes.SUFFIXES and (suffix != ".ply" or path.stat().st_size == 0 or _declares_faces(path))
    return meshes.load(path) if is_mesh else load_points(path)


def load_points(path: Path | str) -> Floats:
    """Read a table of points, or the vertices of a mesh file.

    Args:
        path: File with one of `SUFFIXES`; the module describes the formats.

    Returns:
        Points (N, 2) or (N, 3), signed samples (N, 4), or points with normals (N, 6).

    Raises:
        FileNotFoundError: If the file does not exist.
        MeshError: If the format is not supported, the file is empty or damaged, or `require_usable_points` rejects the
            table. The message starts with the file name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MeshError(f"{path.name}: points are read from {', '.join(SUFFIXES)}, not from '{suffix}'")
    if path.stat().st_size == 0:
        raise MeshError(f"{path.name}: the file is empty")
    table = as_table(path.name, _read(path))
    require_usable_points(path.name, table)
    return table


def _read(path: Path) -> NDArray[np.generic]:
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


def _read_arrays(path: Path) -> NDArray[np.generic]:
    loaded = np.load(path)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        if len(loaded.files) == 1:
            return np.asarray(loaded[loaded.files[0]])
        points, normals = (
            next((loaded[name] for name in names if name in loaded.files), None)
            for names in (_POINT_KEYS, _NORMAL_KEYS)
        )
    if points is None:
        raise MeshError(f"{path.name}: expected one array or an array `points`, got {', '.join(loaded.files)}")
    return np.asarray(points if normals is None else np.hstack((points, normals)))


def _read_text(path: Path) -> Floats:
    delimiter = _TEXT_DELIMITERS[path.suffix.lower()]
    with path.open() as file:
        starts_with_count = len(file.readline().split(delimiter)) == 1
    return np.loadtxt(path, delimiter=delimiter, skiprows=int(starts_with_count), ndmin=2)


def _read_obj(path: Path) -> Floats:
    return np.asarray(trimesh.load(path, process=False).vertices, dtype=np.float64)  # type: ignore[union-attr]


def _read_ply(path: Path) -> NDArray[np.floating[Any]]:
    """Return vertices (N, 3), or (N, 6) if the file lists normals."""
    with path.open("rb") as file:
        contents = load_ply(file, fix_texture=False, skip_materials=True)
    columns = [contents[name] for name in ("vertices", "vertex_normals") if name in contents]
    return np.hstack(columns) if columns else np.empty((0, 3))


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
