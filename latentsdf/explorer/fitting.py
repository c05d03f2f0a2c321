"""Fits of files that visitors upload: the target in model space, the fit with its verdict, and its errors as colors."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.explorer.moves import as_code
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.mesh_distance import bvh_query
from latentsdf.geometry.pointcloud import io as point_files
from latentsdf.geometry.pointcloud.point_table import PointTable
from latentsdf.geometry.targets import read_target
from latentsdf.latent.code import Code
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import ShapeSpace
from latentsdf.utils.errors import LatentSDFError, MeshError
from latentsdf.utils.progress_listener import listen_to_progress

MAX_BYTES = 200_000_000
"""Size of the largest file that is accepted."""
SUFFIXES = tuple(dict.fromkeys((*meshes.SUFFIXES, *point_files.SUFFIXES)))
"""Suffixes of files that are accepted."""
_SHOWN_POINTS = 60_000
_NEAR = 0.01  # of signed samples, those within this distance of the surface are shown

Progress = Callable[[str, float], None]
"""Called with what is being done, and the share of it that is done."""


@dataclass(frozen=True, eq=False)
class FittedUpload:
    """A file that was fitted."""

    name: str
    """Name of the file."""
    fit: Inversion
    code: Code
    """The fit as a code, to explore from."""
    vertices: NDArray[np.float32]
    """Vertices or points (N, 3) of the target, in model space."""
    faces: NDArray[np.int64] | None
    """Faces of the target; None for points."""

    def verdict(self) -> str:
        """Return the verdict on the fit in a sentence."""
        return f"Verdict on the fit: {self.fit.verdict}. Distances are in units of half the box."

    def errors(self, vertices: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the distances (N,) in model space from points (N, 3) to the target: its surface, or nearest point."""
        if self.faces is None:
            return np.asarray(cKDTree(self.vertices).query(vertices)[0])
        target = trimesh.Trimesh(self.vertices, self.faces, process=False)
        return bvh_query(target)(np.ascontiguousarray(vertices, dtype=np.float64))[0]


def safe_name(name: str) -> str:
    """Return the last part of a file name, shortened for display, without control characters."""
    last = PurePosixPath(name.replace("\\", "/")).name
    printable = "".join(character for character in last if character.isprintable())
    return printable if len(printable) <= 60 else f"{printable[:40]}…{printable[-12:]}"


def fit_upload(
    space: ShapeSpace,
    name: str,
    content: bytes,
    progress: Progress,
    *,
    partial: bool = False,
    align: bool = False,
    refine: bool = False,
) -> FittedUpload:
    """Fit a code to an uploaded mesh or point cloud.

    Args:
        space: The space.
        name: Name of the file, of which only the suffix is used to read it.
        content: Content of the file.
        progress: Told what is being done. An exception that it raises ends the fit.
        partial: As in `InvertConfig`.
        align: As in `InvertConfig`.
        refine: Whether to also add the detail of a mesh that the code cannot represent.

    Raises:
        LatentSDFError: The file cannot be used; the message names it as `name`.
    """
    shown, suffix = safe_name(name), Path(safe_name(name)).suffix.lower()
    if suffix not in SUFFIXES:
        raise MeshError(f"{shown}: expected a mesh or point cloud, one of {', '.join(SUFFIXES)}")
    if not content:
        raise MeshError(f"{shown}: the file is empty")
    if len(content) > MAX_BYTES:
        raise MeshError(f"{shown}: {len(content) / 1e6:.0f} MB, but at most {MAX_BYTES / 1e6:.0f} MB are accepted")
    progress("reading the file", 0.0)
    with tempfile.TemporaryDirectory(prefix="latentsdf-") as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(content)
        try:
            target = read_target(path)
            with listen_to_progress(progress):
                fit = space.invert(target, partial=partial, align=align)
                if refine:
                    progress("refining", 0.0)
                    fit = space.refine(fit, target)
        except LatentSDFError as error:
            text = str(error).replace(str(path), shown).replace(path.name, shown)
            raise MeshError(text if shown in text else f"{shown}: {text}") from error
    return fitted(space, shown, fit, target)


def fitted(space: ShapeSpace, name: str, fit: Inversion, target: trimesh.Trimesh | PointTable) -> FittedUpload:
    """Return a fit with its target, a mesh or a table of points, in model space."""
    faces = None
    if isinstance(target, trimesh.Trimesh):
        mesh = meshes.clean(target)[0]
        points, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    else:
        points = target.points if target.distances is None else target.points[np.abs(target.distances) < _NEAR]
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) > _SHOWN_POINTS:
            points = points[np.random.default_rng(0).choice(len(points), _SHOWN_POINTS, replace=False)]
    vertices = fit.similarity.to_model(points).astype(np.float32)
    return FittedUpload(name, fit, as_code(space, fit), vertices, faces)
