"""Mesh files in and out: load, clean, normalize to model space, and the way back to the user's frame."""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import Normalization
from latentsdf.utils.errors import ConfigError, MeshError

SUFFIXES = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")
"""File formats read; all but .gltf are written too."""
SUFFIXES_WITH_NORMALS = (".ply", ".obj", ".glb")
"""Those that are written with vertex normals, where the mesh has been given some."""

_RADIUS = 1 / 1.03
_FEWEST_FACES = 4
_LARGEST_NAN_SHARE = 0.001
_LARGEST_COORDINATE = 1e9
_LARGEST_DEGENERATE_SHARE = 0.5

# trimesh logs what it could not resolve (materials, textures); none of it concerns the geometry.
logging.getLogger("trimesh").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Similarity:
    """The map between a user's frame and model space: model = turn by yaw of (user - center) * scale.

    `yaw` is an angle about the vertical axis y, in radians, from +z towards +x.
    """

    center: tuple[float, ...]
    scale: float
    yaw: float = 0.0

    def to_model(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points (N, d) from the user's frame to model space."""
        moved = (np.asarray(points, dtype=np.float64) - self.center) * self.scale
        return np.asarray(moved @ self.rotation().T if self.yaw else moved)

    def to_user(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points (N, d) from model space to the user's frame."""
        points = np.asarray(points, dtype=np.float64)
        return np.asarray((points @ self.rotation() if self.yaw else points) / self.scale + self.center)

    def rotation(self) -> NDArray[np.float64]:
        """Matrix (3, 3) of the turn."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


IDENTITY = Similarity((0.0, 0.0, 0.0), 1.0)


@dataclass(frozen=True)
class CleaningReport:
    """What `clean` removed or merged."""

    removed_vertices: int
    degenerate_faces: int
    duplicate_faces: int
    merged_vertices: int


def load(path: Path | str) -> trimesh.Trimesh:
    """Read a triangle mesh; scenes are concatenated with their transforms.

    Raises FileNotFoundError, or MeshError with the file's name and the reason: an unknown format, an empty or cut-off
    file, no faces, vertices that are not numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such mesh file")
    if path.suffix.lower() not in SUFFIXES:
        raise MeshError(f"{path.name}: '{path.suffix}' files are not read; convert to one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise MeshError(f"{path.name}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(path, process=False)
            mesh = scene.to_mesh()
    # Readers of six formats raise whatever they stumble over; the user needs the file and the reason, not the type.
    except Exception as error:
        raise MeshError(f"{path.name}: cannot be read, the file is damaged or cut off ({error!r:.120})") from error
    require_usable_mesh(path.name, mesh)
    if path.suffix.lower() == ".obj" and not path.read_bytes().endswith(b"\n") and _last_face_is_cut(path):
        raise MeshError(f"{path.name}: the last line is cut off, so the file is incomplete")
    return mesh


def require_usable_mesh(name: str, mesh: trimesh.Trimesh) -> None:
    """Raise MeshError, starting with `name`, for a mesh without faces or with coordinates that cannot be used."""
    faces, vertices = np.asarray(mesh.faces), np.asarray(mesh.vertices)
    if len(faces) == 0:
        raise MeshError(
            f"{name}: has no faces, so there is no surface; clouds of points go into a store by latentsdf import"
        )
    if faces.max() >= len(vertices) or faces.min() < 0:
        raise MeshError(f"{name}: faces name vertex {faces.max()} but there are {len(vertices):,}; it is cut off")
    if len(faces) < _FEWEST_FACES:
        raise MeshError(f"{name}: {len(faces)} faces cannot enclose a volume; at least {_FEWEST_FACES} are needed")
    broken = np.asarray(~np.isfinite(vertices).all(axis=1))
    share = float(np.mean(broken.take(faces).any(axis=1)))
    if share > _LARGEST_NAN_SHARE:
        raise MeshError(f"{name}: {share:.1%} of the faces have vertices that are not finite numbers")
    require_coordinate_precision(name, vertices[np.flatnonzero(~broken)])


def require_coordinate_precision(name: str, points: NDArray[np.floating]) -> None:
    """Raise MeshError, starting with `name`, for finite coordinates (N, d) too large or too alike to hold a shape."""
    extent, magnitude = np.ptp(points, axis=0).max(), np.abs(points).max()
    if magnitude > _LARGEST_COORDINATE:
        raise MeshError(f"{name}: coordinates reach {magnitude:.1e}, which no unit of length explains; rescale them")
    if extent == 0 or magnitude > 1e6 * extent:
        raise MeshError(
            f"{name}: coordinates near {magnitude:.1e} with an extent of {extent:.1e} leave no digits for the "
            "shape; move it to the origin before export"
        )


def _last_face_is_cut(path: Path) -> bool:
    last = path.read_bytes().rsplit(b"\n", 1)[-1].split()
    return bool(last) and (last[0] not in (b"f", b"v", b"vt", b"vn", b"g", b"o", b"s", b"#") or len(last) < 4)


def clean(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, CleaningReport]:
    """Drop faces with non-finite vertices, weld equal vertices, drop degenerate and duplicate faces.

    Raises MeshError when nothing is left, or when welding collapses most of the surface.
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
    # Copies of a vertex that exporters write differ in the last float32 digits.
    quantized = np.round((vertices[used] - vertices[used].min(0)) / (extent * 1e-7)).astype(np.int64)
    _, first, inverse = np.unique(quantized, axis=0, return_index=True, return_inverse=True)
    remap = np.zeros(len(vertices), dtype=np.int64)
    remap[used] = inverse.ravel()
    welded, faces = vertices[used][first], remap[faces]
    corners = welded[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    distinct = (faces != np.roll(faces, 1, axis=1)).all(1) & (area > 1e-14 * extent**2)
    degenerate = int((~distinct).sum())
    if degenerate > _LARGEST_DEGENERATE_SHARE * len(faces):
        raise MeshError(f"{degenerate / len(faces):.0%} of the faces have no area: the coordinates lost their digits")
    faces = faces[distinct]
    rotated = np.take_along_axis(faces, (faces.argmin(1)[:, None] + np.arange(3)) % 3, axis=1)
    keep = np.sort(np.unique(rotated, axis=0, return_index=True)[1])
    cleaning = CleaningReport(int((~finite).sum()), degenerate, len(faces) - len(keep), len(used) - len(first))
    cleaned = trimesh.Trimesh(welded, faces[keep], process=False)
    cleaned.remove_unreferenced_vertices()
    if len(cleaned.faces) < _FEWEST_FACES:
        raise MeshError(f"only {len(cleaned.faces)} faces are left after cleaning; at least {_FEWEST_FACES} are needed")
    return cleaned, cleaning


def normalize(mesh: trimesh.Trimesh, mode: Normalization = "sphere") -> tuple[trimesh.Trimesh, Similarity]:
    """Move a mesh to model space; see `similarity_of`."""
    similarity = similarity_of(np.asarray(mesh.vertices, dtype=np.float64), mode)
    return trimesh.Trimesh(similarity.to_model(mesh.vertices), mesh.faces, process=False), similarity


def similarity_of(points: NDArray[np.float64], mode: Normalization = "sphere") -> Similarity:
    """The way from the frame of points (N, d) to model space.

    `sphere`: bounding-box centre to the origin, farthest point at radius 1/1.03 (DeepSDF); `cube`: largest half
    extent at 1/1.03; `none`: as it is. Raises MeshError for points that coincide, or that `none` leaves outside
    [-1, 1]^3.
    """
    if mode == "none":
        if np.abs(points).max() > 1:
            raise MeshError(
                f"coordinates reach {np.abs(points).max():.4g}, outside [-1, 1]; use normalization 'sphere' or 'cube'"
            )
        return IDENTITY
    low, high = points.min(0), points.max(0)
    center = (low + high) / 2
    size = np.linalg.norm(points - center, axis=1).max() if mode == "sphere" else (high - low).max() / 2
    if size == 0:
        raise MeshError(f"all {len(points)} points coincide, so they have no shape")
    return Similarity(tuple(float(x) for x in center), float(_RADIUS / size))


def require_writable(path: Path) -> None:
    """ConfigError for a suffix that `save` cannot write."""
    writable = [suffix for suffix in SUFFIXES if suffix != ".gltf"]
    if path.suffix.lower() not in writable:
        raise ConfigError(f"{path.name}: cannot write '{path.suffix}'; use one of {', '.join(writable)}")


def save(mesh: trimesh.Trimesh, path: Path | str) -> None:
    """Write a mesh by suffix; the file appears whole or not at all."""
    path = Path(path)
    require_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.next{path.suffix}")
    mesh.export(aside)
    os.replace(aside, path)
