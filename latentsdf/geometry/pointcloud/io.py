"""Reading of point clouds, signed samples and meshes from files.

A table has one point per row; `point_table` describes the meaning of its columns, and of the arrays of an .npz file.

| suffix | contents |
|---|---|
| .npy | one table, or a structured array with named columns |
| .npz | one table with any name, or `points` (`surface_points`) and optionally `normals` (`surface_normals`) or `sdf` |
| .txt, .xyz, .pts, .csv, .asc | a table as text, see `text_table`; a line of words above it names the columns |
| .ply | vertices with normals, if listed; with faces, a mesh for `load_mesh_or_points` |
| .obj | vertices; always a mesh for `load_mesh_or_points` |
| .las, .laz, .e57 | points of scans, see `scan_files` |

How the columns of a text file without names were read is printed, as are the repairs of `repair`.
"""

import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_files import obj, ply
from latentsdf.geometry.mesh_files.content import require_content
from latentsdf.geometry.pointcloud import scan_files
from latentsdf.geometry.pointcloud.point_cloud import require_usable_points
from latentsdf.geometry.pointcloud.point_table import (
    PointTable,
    as_table,
    point_table,
    read_text_columns,
    require_distinct,
    table_from_arrays,
    table_from_columns,
    table_from_order,
    unused_columns,
)
from latentsdf.geometry.pointcloud.repair import repair
from latentsdf.geometry.pointcloud.text_table import read_text_table
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import LatentSDFError, MeshError
from latentsdf.utils.numpy_files import require_declared_size, require_declared_sizes

_TEXT_SUFFIXES = (".txt", ".xyz", ".pts", ".csv", ".asc")
SUFFIXES = (".npy", ".npz", *_TEXT_SUFFIXES, ".ply", ".obj", *scan_files.SUFFIXES)
"""Suffixes of supported point files."""


def load_mesh_or_points(path: Path | str, columns: Sequence[str] | None = None) -> trimesh.Trimesh | PointTable:
    """Read a mesh or a table of points, depending on the format; a .ply file with faces is a mesh.

    Args:
        path: File with a suffix of `mesh.SUFFIXES` or `SUFFIXES`.
        columns: As for `load_points`; it has no meaning for meshes.

    Returns:
        Mesh as returned by `latentsdf.geometry.mesh.load`, or points as returned by `load_points`.

    Raises:
        FileNotFoundError: The file does not exist.
        MeshError: The format is not supported, or `latentsdf.geometry.mesh.load` or `load_points` rejects the file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    require_file(path)
    if suffix not in meshes.SUFFIXES and suffix not in SUFFIXES:
        raise _unsupported(path, (*meshes.SUFFIXES, *SUFFIXES))
    is_mesh = suffix in meshes.SUFFIXES and (suffix != ".ply" or _declares_faces(path))
    return meshes.load(path) if is_mesh else load_points(path, columns)


def load_points(path: Path | str, columns: Sequence[str] | None = None) -> PointTable:
    """Read a table of points, or the vertices of a mesh file.

    Args:
        path: File with one of `SUFFIXES`; the module describes the formats.
        columns: Meaning of the columns of a text file or an .npy file, see `point_table.table_from_order`; by default,
            they are found by their names or values.

    Returns:
        The points, with normals or signed distances if the file has them. Stray points are left out, and normals that
        point inward are turned, with a note.

    Raises:
        FileNotFoundError: The file does not exist.
        MissingExtraError: The reader of the format is not installed.
        MeshError: The format is not supported, the file is empty or damaged, or `require_usable_points` rejects the
            table. The message starts with the file name.
    """
    path = Path(path)
    require_file(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise _unsupported(path, SUFFIXES)
    table = _read(path, columns)
    if suffix == ".ply" and table.normals is not None and len(table.normals) and not table.normals.any():
        # As in files of Gaussian splats.
        show_note(path.name, "all normals are 0, so that they are ignored")
        table = replace(table, normals=None)
    require_usable_points(path.name, table)
    table, notes = repair(table)
    if notes:
        require_usable_points(path.name, table)
    for note in notes:
        show_note(path.name, note)
    return table


def _unsupported(path: Path, suffixes: Sequence[str]) -> MeshError:
    supported = ", ".join(dict.fromkeys(suffixes))
    known = scan_files.REFUSED.get(path.suffix.lower())
    what = f"{known} files" if known else f"'{path.suffix}' files"
    return MeshError(f"{path.name}: {what} are not supported; convert to one of {supported}")


def require_file(path: Path) -> None:
    """Raise FileNotFoundError if a path is not a file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder; name a file' if path.is_dir() else 'no such file'}")


def _read(path: Path, columns: Sequence[str] | None) -> PointTable:
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            require_content(file.read(1000), suffix)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if suffix in _TEXT_SUFFIXES:
                return _read_text(path, columns)
            if suffix in (".npy", ".npz"):
                return _read_arrays(path, columns)
            if columns is not None:
                raise MeshError(f"the columns of '{suffix}' files have names; leave out their order")
            if suffix == ".ply":
                vertices = ply.read_elements(path.read_bytes()).get("vertex", {})
                return table_from_columns("", {k: v for k, v in vertices.items() if isinstance(v, np.ndarray)})
            return PointTable(obj.read(path.read_bytes()).vertices if suffix == ".obj" else scan_files.read_scan(path))
    except LatentSDFError as error:
        if str(error).startswith(f"{path.name}: "):
            raise
        raise type(error)(f"{path.name}: {error}") from error
    # numpy's and the scan libraries' readers raise exceptions of many types for damaged files.
    except Exception as error:
        raise MeshError(
            f"{path.name}: cannot be read, the file is damaged, truncated or not a table of numbers ({error!r:.120})"
        ) from error


def _read_arrays(path: Path, columns: Sequence[str] | None) -> PointTable:
    if path.suffix.lower() == ".npz":
        if columns is not None:
            raise MeshError("the arrays of '.npz' files have names; leave out the order of columns")
        with zipfile.ZipFile(path) as archive:
            require_declared_sizes(archive, path.stat().st_size)
        with path.open("rb") as file, np.load(file) as arrays:
            return table_from_arrays(path.name, dict(arrays))
    with path.open("rb") as file:
        require_declared_size(file, path.stat().st_size)
        file.seek(0)
        loaded = np.load(file)
    if columns is not None:
        return table_from_order(path.name, as_table(path.name, loaded), columns)
    if loaded.dtype.names:
        return table_from_columns(path.name, {key: loaded[key] for key in loaded.dtype.names})
    return point_table(path.name, loaded)


def _read_text(path: Path, columns: Sequence[str] | None) -> PointTable:
    text = read_text_table(path.read_bytes())
    if columns is not None:
        return table_from_order(path.name, text.values, columns)
    if text.names is None:
        table, reading = read_text_columns(path.name, text.values)
    else:
        require_distinct(path.name, text.names)
        table = table_from_columns(path.name, dict(zip(text.names, text.values.T, strict=True)))
        unused = unused_columns(text.names)
        reading = f"columns {', '.join(unused)} are ignored" if unused else ""
    if reading:
        show_note(path.name, reading)
    return table


def _declares_faces(path: Path) -> bool:
    """Return whether the head of a .ply file declares faces, without parsing the body."""
    with path.open("rb") as file:
        return ply.declares_faces(file.read(1 << 16))
