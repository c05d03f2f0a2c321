"""What users hold of a shape as files: tables of points or signed samples, and point clouds among mesh files."""

import warnings
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from trimesh.exchange.ply import load_ply

from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.pointcloud.point_cloud import as_table, require_usable_points
from latentsdf.utils.errors import MeshError

Floats = NDArray[np.float64]

_TEXTS = {".txt": None, ".xyz": None, ".pts": None, ".csv": ","}
SUFFIXES = (".npy", ".npz", *_TEXTS, ".ply", ".obj")
"""Files that points are read from."""
_POINTS, _NORMALS = ("points", "surface_points"), ("normals", "surface_normals")


def load_target(path: Path | str) -> trimesh.Trimesh | Floats:
    """A mesh, or a table that `load_points` reads; a .ply is a mesh where it has faces.

    Raises what `mesh.load` and `load_points` raise.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if suffix not in meshes.SUFFIXES and suffix not in SUFFIXES:
        known = ", ".join(dict.fromkeys((*meshes.SUFFIXES, *SUFFIXES)))
        raise MeshError(f"{path.name}: '{path.suffix}' files are not read; convert to one of {known}")
    is_mesh = suffix in meshes.SUFFIXES and (suffix != ".ply" or path.stat().st_size == 0 or _lists_faces(path))
    return meshes.load(path) if is_mesh else load_points(path)


def load_points(path: Path | str) -> Floats:
    """Points (N, 2|3), points with normals (N, 6) or signed samples (N, 4).

    .npy holds one array, .npz one array or `points` and `normals`, texts one point a row (in .pts after their number).
    Of .ply and .obj the vertices are taken, whether they have faces or not, with the normals a .ply lists. Raises
    FileNotFoundError, or MeshError with the file's name for what cannot be read or `cloud.require_usable_points` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of points")
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
            if suffix in _TEXTS:
                return _read_text(path)
            if suffix == ".ply":
                return _read_ply(path)
            return _read_obj(path) if suffix == ".obj" else _read_arrays(path)
    except MeshError:
        raise
    # Readers of these formats raise whatever they stumble over.
    except Exception as error:
        raise _unreadable(path, error) from error


def _read_arrays(path: Path) -> NDArray[np.generic]:
    loaded = np.load(path)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        if len(loaded.files) == 1:
            return np.asarray(loaded[loaded.files[0]])
        points, normals = (next((loaded[n] for n in names if n in loaded.files), None) for names in (_POINTS, _NORMALS))
    if points is None:
        raise MeshError(f"{path.name}: expected one array or an array `points`, got {', '.join(loaded.files)}")
    return np.asarray(points if normals is None else np.hstack((points, normals)))


def _read_text(path: Path) -> Floats:
    delimiter = _TEXTS[path.suffix.lower()]
    with path.open() as file:
        counted = len(file.readline().split(delimiter)) == 1
    return np.loadtxt(path, delimiter=delimiter, skiprows=int(counted), ndmin=2)


def _read_obj(path: Path) -> Floats:
    return np.asarray(trimesh.load(path, process=False).vertices, dtype=np.float64)  # type: ignore[union-attr]


def _read_ply(path: Path) -> Floats:
    """Vertices (N, 3), or (N, 6) with their normals."""
    with path.open("rb") as file:
        read = load_ply(file, fix_texture=False, skip_materials=True)
    columns = [read[name] for name in ("vertices", "vertex_normals") if name in read]
    return np.hstack(columns) if columns else np.empty((0, 3))


def _lists_faces(path: Path) -> bool:
    """Does the head of a .ply promise faces? Read alone, as whoever wants the rest parses all of it."""
    with path.open("rb") as file:
        for line in file:
            words = line.split()
            if words[:2] == [b"element", b"face"]:
                return words[2:] != [b"0"]
            if words == [b"end_header"]:
                break
    return False


def _unreadable(path: Path, error: Exception) -> MeshError:
    return MeshError(f"{path.name}: cannot be read, the file is damaged, cut off or no table ({error!r:.120})")
