"""Everything that a user holds of a shape, as a triangle mesh or as a table of points.

| object | read as |
|---|---|
| path, as `Path` or text | the mesh or the points of the file (`pointcloud.io`) |
| `trimesh.Trimesh`, Open3D `TriangleMesh` (legacy or tensor), any object with `vertices` and `faces` | mesh |
| `trimesh.Scene` | its meshes, transformed and joined; or its point clouds, transformed and joined |
| pair (vertices, faces) of real numbers (V, 3) and integers (F, 3) | mesh |
| `trimesh.PointCloud`, Open3D `PointCloud` (legacy or tensor) | points, with normals if it has them |
| pair (points, normals) of the same shape, real numbers, normals of equal length | points with normals |
| dictionary or .npz archive with `vertices` and `faces`, or with `points` | mesh or points |
| structured array, data frame | points in named columns (`pointcloud.point_table`) |
| array, nested lists, tensor on any device, with or without gradients | table of points (`pointcloud.point_table`) |

Objects of Open3D and torch are recognized by their attributes, because this package imports neither.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from latentsdf.geometry.mesh import require_usable_mesh
from latentsdf.geometry.pointcloud.io import load_mesh_or_points, load_points
from latentsdf.geometry.pointcloud.point_table import (
    PointTable,
    point_table,
    require_normals,
    table_from_arrays,
    table_from_columns,
)
from latentsdf.utils.arrays import as_array, describe
from latentsdf.utils.errors import MeshError

_EXPECTED = (
    "a mesh, points (N, 3), points with normals (N, 6), signed samples (N, 4), a file of one of these, or a tuple "
    "(vertices, faces) or (points, normals)"
)


def read_target(target: Any, normals: Any = None) -> trimesh.Trimesh | PointTable:
    """Read a shape in any of the forms that the module docstring lists.

    Args:
        target: The shape.
        normals: Normals of the points, if the target consists of points without normals.

    Returns:
        A mesh with faces, or points. They are in the frame of the target, and neither cleaned nor normalized. They may
        share memory with the target.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: The target has another type or shape, or its mesh is unusable.
    """
    found = load_mesh_or_points(Path(target)) if isinstance(target, os.PathLike | str) else _read_object(target)
    if not isinstance(found, trimesh.Trimesh):
        return _with_normals(found, normals)
    if normals is not None:
        raise MeshError(f"normals belong to points, but the target is a mesh ({describe(target)}); remove them")
    return found


def read_mesh(target: Any, purpose: str) -> trimesh.Trimesh:
    """Read a triangle mesh in any of the forms that the module docstring lists.

    Args:
        target: The mesh.
        purpose: What the mesh is needed for, such as "refinement", for the error message.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: As for `read_target`, or the target consists of points.
    """
    found = read_target(target)
    if isinstance(found, trimesh.Trimesh):
        return found
    raise MeshError(f"{purpose} needs a mesh with faces, got points ({describe(target)})")


def read_points(target: Any, normals: Any = None) -> PointTable:
    """Read points in any of the forms that the module docstring lists; of a mesh, its vertices.

    Args:
        target: The points.
        normals: As for `read_target`.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: As for `read_target`.
    """
    found = load_points(Path(target)) if isinstance(target, os.PathLike | str) else _read_object(target)
    if isinstance(found, trimesh.Trimesh):
        found = PointTable(np.asarray(found.vertices, dtype=np.float64))
    return _with_normals(found, normals)


def _with_normals(table: PointTable, normals: Any) -> PointTable:
    if normals is None:
        return table
    if table.normals is not None:
        raise MeshError("the points already include normals; pass either these, or points without normals and normals")
    return point_table("", table.points, normals, table.distances)


def is_pair(target: Any) -> bool:
    """Return whether a target is a pair of tables, (vertices, faces) or (points, normals)."""
    return (
        isinstance(target, tuple)
        and len(target) == 2
        and all(len(getattr(part, "shape", None) or np.shape(_or_none(part))) == 2 for part in target)
    )


def _or_none(part: Any) -> Any:
    try:
        return as_array(part)
    except Exception:
        return None


def _read_object(target: Any) -> trimesh.Trimesh | PointTable:
    if isinstance(target, PointTable):
        return target
    if isinstance(target, trimesh.Trimesh):
        require_usable_mesh("the mesh", target)
        return target
    if isinstance(target, trimesh.Scene):
        return _read_scene(target)
    if isinstance(target, Mapping):
        return _read_mapping(target)
    if is_pair(target):
        return _read_pair(*target)
    for read in (_read_tensor_geometry, _read_mesh_like, _read_cloud_like, _read_named_columns):
        found = read(target)
        if found is not None:
            return found
    if isinstance(target, bytes) or (isinstance(target, list | tuple | set) and _holds_objects(target)):
        several = "; fit several shapes with `invert_many`" if not isinstance(target, bytes) else ""
        raise MeshError(f"expected {_EXPECTED}; got {describe(target)}{several}")
    table = as_array(target, expected=_EXPECTED, error=MeshError)
    if table.ndim != 2:
        raise MeshError(f"expected {_EXPECTED}; got {describe(target)} with {table.ndim} axes")
    return point_table("", table)


def _holds_objects(target: Any) -> bool:
    """Return whether a collection holds meshes, paths or other objects in place of numbers."""
    objects = trimesh.Trimesh | trimesh.Scene | trimesh.PointCloud | os.PathLike | str | bytes | None
    return any(isinstance(part, objects) for part in target)


def _read_scene(scene: trimesh.Scene) -> trimesh.Trimesh | PointTable:
    parts = scene.dump()
    found = [part for part in parts if isinstance(part, trimesh.Trimesh)]
    clouds = [np.asarray(part.vertices) for part in parts if isinstance(part, trimesh.PointCloud)]
    if found and clouds:
        raise MeshError(
            f"the scene holds {len(found)} meshes and {len(clouds)} point clouds; pass one kind of them: "
            "scene.to_mesh(), or the points"
        )
    if clouds:
        return point_table("the scene", np.concatenate(clouds))
    if not found:
        raise MeshError(f"the scene holds no mesh and no point cloud, only {len(parts)} other parts")
    mesh = scene.to_mesh()
    require_usable_mesh("the scene", mesh)
    return mesh


def _read_mapping(target: Mapping[Any, Any]) -> trimesh.Trimesh | PointTable:
    if "vertices" in target and "faces" in target:
        return _build_mesh(target["vertices"], target["faces"])
    if "x" in target and "y" in target:
        return table_from_columns("", target)
    if not target:
        raise MeshError("expected a dictionary with `points`, or with `vertices` and `faces`; got an empty one")
    return table_from_arrays("", target)


def _read_pair(first: Any, second: Any) -> trimesh.Trimesh | PointTable:
    table = as_array(second, "second of the pair", error=MeshError)
    if table.dtype.kind in "iu":
        return _build_mesh(first, table)
    points = as_array(first, "first of the pair", error=MeshError)
    if points.shape != table.shape:
        raise MeshError(
            "expected (vertices, faces), faces (F, 3) being integers, or (points, normals) of the same shape; got "
            f"shapes {points.shape} and {table.shape} of {table.dtype}"
        )
    require_normals("", "the second array of the pair", table.astype(np.float64))
    return point_table("", points, table)


def _read_tensor_geometry(target: Any) -> trimesh.Trimesh | PointTable | None:
    """Read `open3d.t.geometry`: attributes by name in `vertex`, `triangle` and `point`."""
    for kind in ("vertex", "point"):
        attributes = getattr(target, kind, None)
        if attributes is None or not hasattr(attributes, "__getitem__") or "positions" not in attributes:
            continue
        if kind == "vertex":
            triangles = target.triangle
            faces = triangles["indices"] if "indices" in triangles else np.empty((0, 3), dtype=np.int64)
            return _build_mesh(attributes["positions"], faces)
        return point_table(
            "", attributes["positions"], *(attributes[name] for name in ("normals",) if name in attributes)
        )
    return None


def _read_mesh_like(target: Any) -> trimesh.Trimesh | None:
    """Read objects with vertices and faces, such as `open3d.geometry.TriangleMesh`."""
    faces = next((getattr(target, name) for name in ("faces", "triangles") if hasattr(target, name)), None)
    if faces is None or callable(faces) or not hasattr(target, "vertices"):
        return None
    return _build_mesh(target.vertices, faces)


def _read_cloud_like(target: Any) -> PointTable | None:
    """Read `trimesh.PointCloud` and `open3d.geometry.PointCloud`; refuse vertices of cells or curves."""
    for points, normals in (("vertices", "vertex_normals"), ("points", "normals")):
        if not hasattr(target, points) or callable(getattr(target, points)):
            continue
        if any(hasattr(target, name) for name in ("faces", "cells", "entities", "lines", "tetras")):
            raise MeshError(
                f"expected {_EXPECTED}; got {describe(target)}, whose cells or curves are not triangles here"
            )
        directions = getattr(target, normals, None)
        absent = directions is None or callable(directions) or len(directions) == 0
        return point_table(
            "", _without_vector_type(getattr(target, points)), None if absent else np.asarray(directions)
        )
    return None


def _read_named_columns(target: Any) -> PointTable | None:
    """Read structured arrays, and data frames whose columns have names."""
    if isinstance(target, np.ndarray) and target.dtype.names:
        return table_from_columns("", {name: target[name] for name in target.dtype.names})
    names = getattr(target, "columns", None)
    if names is None or callable(names) or not callable(getattr(target, "to_numpy", None)):
        return None
    if not any(isinstance(name, str) for name in names):
        return point_table("", target.to_numpy())
    return table_from_columns("", {str(name): np.asarray(target[name]) for name in names})


def _build_mesh(vertices: Any, faces: Any) -> trimesh.Trimesh:
    positions = as_array(_without_vector_type(vertices), "vertices", expected="vertices (V, 3)", error=MeshError)
    corners = as_array(_without_vector_type(faces), "faces", expected="faces (F, 3) of integers", error=MeshError)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise MeshError(f"vertices: expected shape (V, 3), got {positions.shape}")
    if corners.ndim != 2 or corners.shape[1] != 3 or corners.dtype.kind not in "iu":
        raise MeshError(
            f"faces: expected triangles (F, 3) of integers, got shape {corners.shape} of {corners.dtype}; split "
            "polygons into triangles"
        )
    mesh = trimesh.Trimesh(positions.astype(np.float64), corners.astype(np.int64), process=False)
    require_usable_mesh("the mesh", mesh)
    return mesh


def _without_vector_type(values: Any) -> Any:
    """Convert the vectors of Open3D's legacy geometry, and trimesh's tracked arrays, to arrays."""
    return values if hasattr(values, "numpy") or isinstance(values, list | tuple) else np.asarray(values)
