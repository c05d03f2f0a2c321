"""Writing of mesh files that keep the digits of shapes far from the origin, and of very small ones.

Most formats store single precision, about 7 digits. Where these are not enough, .ply files get double precision, .glb
files a node that moves centered vertices to their place, and .stl files are written as text.
"""

from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

_MAX_ROUNDING = 1e-6  # of the extent
_MIN_DECIMALS = {"obj": 8, "off": 10}
_DIGITS = 9  # of the extent


def write(mesh: trimesh.Trimesh, path: Path, kind: str) -> None:
    """Write a mesh file, with vertex normals if the mesh has them and the format stores them.

    Args:
        mesh: Mesh to write.
        path: Path of the file, of any suffix.
        kind: Format: obj, ply, stl, off or glb.
    """
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    extent = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0
    if kind in _MIN_DECIMALS:
        decimals = _DIGITS - int(np.floor(np.log10(extent))) if extent > 0 else 0
        mesh.export(path, file_type=kind, digits=max(_MIN_DECIMALS[kind], decimals))
    elif not len(vertices) or np.abs(vertices - vertices.astype(np.float32)).max() <= _MAX_ROUNDING * extent:
        mesh.export(path, file_type=kind)
    elif kind == "ply":
        path.write_bytes(_double_precision_ply(mesh))
    elif kind == "glb":
        path.write_bytes(_centered_scene(mesh).export(file_type="glb"))
    else:
        mesh.export(path, file_type="stl_ascii")


def _normals(mesh: trimesh.Trimesh) -> NDArray[np.float64] | None:
    """Vertex normals that were set, not those that trimesh would compute."""
    return np.asarray(mesh.vertex_normals) if "vertex_normals" in mesh._cache else None


def _double_precision_ply(mesh: trimesh.Trimesh) -> bytes:
    normals = _normals(mesh)
    columns: list[tuple[str, str, Any]] = [(axis, "double", mesh.vertices[:, n]) for n, axis in enumerate("xyz")]
    if normals is not None:
        columns += [(f"n{axis}", "float", normals[:, n]) for n, axis in enumerate("xyz")]
    rows = np.empty(
        len(mesh.vertices), dtype=[(name, {"double": "<f8", "float": "<f4"}[kind]) for name, kind, _ in columns]
    )
    for name, _, values in columns:
        rows[name] = values
    faces = np.empty(len(mesh.faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    head += [f"property {kind} {name}" for name, kind, _ in columns]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(head).encode() + rows.tobytes() + faces.tobytes()


def _centered_scene(mesh: trimesh.Trimesh) -> trimesh.Scene:
    center = mesh.bounds.mean(axis=0)
    colors = mesh.visual.vertex_colors if mesh.visual.kind == "vertex" else None
    moved = trimesh.Trimesh(
        mesh.vertices - center, mesh.faces, vertex_normals=_normals(mesh), vertex_colors=colors, process=False
    )
    scene = trimesh.Scene()
    scene.add_geometry(moved, transform=trimesh.transformations.translation_matrix(center))
    return scene
