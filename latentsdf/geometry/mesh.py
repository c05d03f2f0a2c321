"""Loading, validation, cleaning, normalization and saving of triangle meshes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import Normalization
from latentsdf.geometry import usd
from latentsdf.geometry.mesh_files import gltf, obj, off, ply, stl
from latentsdf.geometry.mesh_files.content import require_content
from latentsdf.geometry.mesh_files.raw_mesh import RawMesh
from latentsdf.geometry.mesh_files.writing import write
from latentsdf.geometry.similarity import Similarity, compute_normalization
from latentsdf.utils.atomic_files import atomic_write, require_file_output
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import ConfigError, MeshError

SUFFIXES = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")
"""Suffixes of supported mesh files; .gltf is read-only."""
SUFFIXES_WITH_NORMALS = (".ply", ".obj", ".glb", *usd.SUFFIXES)
"""Suffixes of files that store the vertex normals of meshes that have them."""

_MIN_FACES = 4
_MAX_NONFINITE_SHARE = 0.001
_MAX_COORDINATE = 1e9
_MAX_STEP_TO_EXTENT = 0.005
_MIN_ROUNDED = 100  # a few whole numbers are single-precision numbers by chance
_MIN_COARSE = 1e-4  # spacing of single-precision numbers, relative to the extent, from which it is visible
_MAX_ROUNDING = 0.05  # of that spacing, by text with few digits
_MAX_DEGENERATE_SHARE = 0.5
_WELD_TOLERANCE = 1e-7  # relative to the extent; copies of a vertex that exporters write differ in the last digits
_MIN_DOUBLE_AREA = 1e-14  # relative to the squared extent

_READERS: dict[str, Callable[[bytes], RawMesh]] = {
    ".obj": obj.read,
    ".off": off.read,
    ".ply": ply.read,
    ".stl": stl.read,
}

# trimesh logs unresolved materials and textures, which do not affect the geometry.
logging.getLogger("trimesh").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class CleaningReport:
    """Numbers of elements that `clean` removed or merged."""

    removed_vertices: int
    """Vertices with coordinates that are not finite."""
    degenerate_faces: int
    """Removed faces with repeated vertices or without area."""
    duplicate_faces: int
    """Removed copies of a face with the same orientation."""
    merged_vertices: int
    """Vertices that were welded to another one."""


def load(path: Path | str) -> trimesh.Trimesh:
    """Read a triangle mesh; the parts of a scene are transformed and concatenated.

    Args:
        path: Mesh file with one of `SUFFIXES`.

    Returns:
        Mesh in the frame and units of the file, neither cleaned nor welded.

    Raises:
        FileNotFoundError: The file does not exist.
        MeshError: The format is not supported, the file is empty, damaged or truncated, or `require_usable_mesh`
            rejects the mesh. The message starts with the file name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such mesh file")
    if path.suffix.lower() not in SUFFIXES:
        raise MeshError(
            f"{path.name}: '{path.suffix}' files are not supported; convert to one of {', '.join(SUFFIXES)}"
        )
    raw = _read(path)
    mesh = trimesh.Trimesh(raw.vertices, raw.faces, process=False)
    require_usable_mesh(path.name, mesh)
    for note in raw.notes:
        show_note(path.name, note)
    return mesh


def _read(path: Path) -> RawMesh:
    suffix, data = path.suffix.lower(), path.read_bytes()
    try:
        require_content(data, suffix)
        if suffix in (".glb", ".gltf"):
            return gltf.read(data, path.parent)
        return _READERS[suffix](data)
    except MeshError as error:
        raise MeshError(f"{path.name}: {error}") from error
    # Damaged JSON has entries of any type, and damaged counts request any size.
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise MeshError(f"{path.name}: cannot be read, the file is damaged or truncated ({error!r:.120})") from error


def require_usable_mesh(name: str, mesh: trimesh.Trimesh) -> None:
    """Raise an error for a mesh that cannot enclose a volume or has unusable coordinates.

    Args:
        name: Name of the mesh, with which the error message starts.
        mesh: Mesh in any frame.

    Raises:
        MeshError: The mesh has fewer than 4 faces, faces refer to missing vertices, more than 0.1 % of the faces
            have vertices that are not finite, or `require_coordinate_precision` rejects the vertices.
    """
    faces, vertices = np.asarray(mesh.faces), np.asarray(mesh.vertices)
    if len(faces) == 0:
        raise MeshError(
            f"{name}: has no faces, so there is no surface; use `latentsdf import` to add point clouds to a store"
        )
    if faces.min() < 0:
        raise MeshError(f"{name}: faces refer to vertex {faces.min()}; vertices are counted from 0")
    if faces.max() >= len(vertices):
        raise MeshError(
            f"{name}: faces refer to vertex {faces.max()}, but there are {len(vertices):,} vertices; it is truncated"
        )
    if len(faces) < _MIN_FACES:
        raise MeshError(f"{name}: {len(faces)} faces cannot enclose a volume; at least {_MIN_FACES} are needed")
    nonfinite = np.asarray(~np.isfinite(vertices).all(axis=1))
    share = float(np.mean(nonfinite.take(faces).any(axis=1)))
    if share > _MAX_NONFINITE_SHARE:
        raise MeshError(f"{name}: {share:.1%} of the faces have vertices that are not finite numbers")
    require_coordinate_precision(name, vertices[np.flatnonzero(~nonfinite)])


def require_coordinate_precision(name: str, points: NDArray[np.floating]) -> None:
    """Raise an error for coordinates so large that too few significant digits are left for the shape.

    Args:
        name: Name of the shape, with which the error message starts.
        points: Finite points (N, d). At least 100 points of double precision that are all single-precision numbers,
            too, up to the rounding of text, are taken to have lost the other digits.

    Raises:
        MeshError: The points coincide, a coordinate exceeds 1e9, or the step between neighboring numbers of the
            precision exceeds 0.5 % of the extent of the points.
    """
    extent, magnitude = float(np.ptp(points, axis=0).max()), float(np.abs(points).max())
    if magnitude > _MAX_COORDINATE:
        raise MeshError(f"{name}: coordinates reach {magnitude:.1e}, too large for any unit of length; rescale them")
    if extent == 0:
        raise MeshError(f"{name}: all points coincide at coordinates near {magnitude:.1e}; there is no shape")
    single = len(points) >= _MIN_ROUNDED and _is_single_precision(points, extent)
    step = float(np.spacing(np.float32(magnitude) if single else magnitude))
    if step > _MAX_STEP_TO_EXTENT * extent:
        raise MeshError(
            f"{name}: coordinates near {magnitude:.1e} were stored in {'single' if single else 'double'} precision, in "
            f"steps of {step:.1e}, which leaves too few significant digits for a shape with an extent of {extent:.1e}; "
            "move it to the origin before export, or export double precision"
        )


def _is_single_precision(points: NDArray[np.floating], extent: float) -> bool:
    """Return whether points are numbers of single precision, up to the rounding of text, along all axes far away."""
    rounded = points.astype(np.float32)
    spacing = np.spacing(np.abs(rounded)).astype(np.float64)
    coarse = spacing.max(axis=0) > _MIN_COARSE * extent
    share = np.abs(points - rounded)[:, coarse] / spacing[:, coarse]
    return bool(coarse.any()) and bool((share < _MAX_ROUNDING).all())


def clean(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, CleaningReport]:
    """Drop faces with non-finite vertices, weld equal vertices, and drop degenerate and duplicate faces.

    Args:
        mesh: Mesh in any frame; it is not modified.

    Returns:
        Cleaned mesh without unreferenced vertices, and a report of the removed elements.

    Raises:
        MeshError: Fewer than 4 faces remain, or welding collapses most of the surface.
    """
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    faces = np.asarray(mesh.faces, dtype=np.int64)
    finite = np.asarray(np.isfinite(vertices).all(axis=1))
    faces = faces[finite[faces].all(1)]
    used = np.unique(faces)
    if len(used) == 0:
        raise MeshError("no face with finite vertices is left, so there is no surface")
    extent = np.ptp(vertices[used], axis=0).max()
    if extent == 0:
        raise MeshError("all vertices coincide, so there is no surface")
    quantized = np.round((vertices[used] - vertices[used].min(0)) / (extent * _WELD_TOLERANCE)).astype(np.int64)
    _, first, inverse = np.unique(quantized, axis=0, return_index=True, return_inverse=True)
    welded_index = np.zeros(len(vertices), dtype=np.int64)
    welded_index[used] = inverse.ravel()
    welded, faces = vertices[used][first], welded_index[faces]
    corners = welded[faces]
    double_area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    proper = (faces != np.roll(faces, 1, axis=1)).all(1) & (double_area > _MIN_DOUBLE_AREA * extent**2)
    degenerate = int((~proper).sum())
    if degenerate > _MAX_DEGENERATE_SHARE * len(faces):
        raise MeshError(
            f"{degenerate / len(faces):.0%} of the faces have no area; the coordinates lost their significant digits"
        )
    faces = faces[proper]
    # Rotating the smallest index to the front makes copies of a face equal but keeps its orientation.
    rotated = np.take_along_axis(faces, (faces.argmin(1)[:, None] + np.arange(3)) % 3, axis=1)
    distinct = np.sort(np.unique(rotated, axis=0, return_index=True)[1])
    report = CleaningReport(
        removed_vertices=int((~finite).sum()),
        degenerate_faces=degenerate,
        duplicate_faces=len(faces) - len(distinct),
        merged_vertices=len(used) - len(first),
    )
    cleaned = trimesh.Trimesh(welded, faces[distinct], process=False)
    cleaned.remove_unreferenced_vertices()
    if len(cleaned.faces) < _MIN_FACES:
        raise MeshError(f"only {len(cleaned.faces)} faces are left after cleaning; at least {_MIN_FACES} are needed")
    return cleaned, report


def normalize(mesh: trimesh.Trimesh, mode: Normalization = "sphere") -> tuple[trimesh.Trimesh, Similarity]:
    """Transform a mesh to model space.

    Args:
        mesh: Mesh in the user's frame; it is not modified.
        mode: See `latentsdf.geometry.similarity.compute_normalization`.

    Returns:
        Mesh in model space, and the transform that was applied to it.

    Raises:
        MeshError: The vertices coincide, or the mode is `none` and a coordinate is outside [-1, 1].
    """
    similarity = compute_normalization(np.asarray(mesh.vertices, dtype=np.float64), mode)
    return trimesh.Trimesh(similarity.to_model(mesh.vertices), mesh.faces, process=False), similarity


def to_user_frame(mesh: trimesh.Trimesh, similarity: Similarity, *, normals: bool = False) -> trimesh.Trimesh:
    """Transform a mesh from model space to the user's frame.

    Args:
        mesh: Mesh in model space; it is not modified.
        similarity: Transform between the user's frame and model space.
        normals: Whether to rotate and keep the mesh's `vertex_normals`; otherwise they are not set.

    Returns:
        A mesh with the same faces.
    """
    rotated = mesh.vertex_normals @ similarity.rotation() if normals else None
    return trimesh.Trimesh(similarity.to_user(mesh.vertices), mesh.faces, vertex_normals=rotated, process=False)


def require_writable(path: Path) -> None:
    """Raise an error for a suffix that `save` does not support.

    Args:
        path: Path of the mesh file, which need not exist.

    Raises:
        ConfigError: The suffix is neither one of `SUFFIXES` except .gltf, nor one of a USD file, or something else than
            a file is there.
    """
    writable = [suffix for suffix in (*SUFFIXES, *usd.SUFFIXES) if suffix != ".gltf"]
    if path.suffix.lower() not in writable:
        raise ConfigError(f"{path.name}: cannot write '{path.suffix}'; use one of {', '.join(writable)}")
    require_file_output(path)


def save(mesh: trimesh.Trimesh, path: Path | str) -> None:
    """Write a mesh file atomically.

    Args:
        mesh: Mesh to write.
        path: Path of the file; its suffix selects the format, and missing parent folders are created. Far from the
            origin, `mesh_files.writing` keeps more digits than formats usually do.

    Raises:
        ConfigError: The suffix is not supported.
        MissingExtraError: The file is a USD file and the extra `usd` is not installed.
    """
    path = Path(path)
    require_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in usd.SUFFIXES:
        usd.save_usd(mesh, path)
        return
    with atomic_write(path) as temporary:
        write(mesh, temporary, path.suffix[1:].lower())
