"""Shapes of a sample store as meshes and colored points, without a trained space."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from latentsdf.data.records import ShapeInfo
from latentsdf.data.store import SampleStore
from latentsdf.extraction.marching_cubes import marching_cubes
from latentsdf.extraction.sparse_lattice import from_values
from latentsdf.geometry.lattice import lattice_points, to_lattice_units, vertex_coordinates
from latentsdf.geometry.mesh_sdf.sign import DOUBTFUL_CONFIDENCE
from latentsdf.rendering.level_sets import distance_colors

Layer = Literal["mesh", "band", "near", "uniform", "surface"]
"""What is drawn of a stored shape: the surface in its band, vertices of the band, off-surface samples near the surface
or uniform in the box, or surface samples."""

_SHOWN_POINTS = 40_000


@dataclass(frozen=True)
class ColoredPoints:
    """Points in model space with colors."""

    points: NDArray[np.float32]
    colors: NDArray[np.uint8]


def band_mesh(store: SampleStore, key: str) -> trimesh.Trimesh:
    """Triangulate the zero set of a shape's stored narrow band, in model space.

    Lattice cells with a vertex outside the band are left out, so a hole means that the stored band has one.

    Raises:
        StoreError: The store has no such shape, or it is damaged.
    """
    index, distance = store.band(key)
    resolution = store.config.resolution
    vertex = vertex_coordinates(index, resolution).astype(np.int32)
    vertices, faces = marching_cubes(from_values(resolution, vertex, distance))
    return trimesh.Trimesh(vertices, faces, process=False)


def sample_points(store: SampleStore, key: str, layer: Layer) -> ColoredPoints:
    """Return samples of a shape, at most 40,000 of them, colored by their signed distance.

    Args:
        store: The store.
        key: Key of the shape.
        layer: Any layer but `mesh`. Surface samples are colored by their normals.

    Raises:
        StoreError: The store has no such shape, or it is damaged.
    """
    if layer == "surface":
        surface = _some(store.surface_subset(key, 1.0, np.random.default_rng(0)))
        if surface.shape[1] < 6:
            return ColoredPoints(surface, np.full(surface.shape, 90, dtype=np.uint8))
        return ColoredPoints(surface[:, :3], ((surface[:, 3:] + 1) * 127.5).clip(0, 255).astype(np.uint8))
    if layer == "band":
        index, distance = store.band(key)
        chosen = _some(np.arange(len(index)))
        samples = np.column_stack((lattice_points(index[chosen], store.config.resolution), distance[chosen]))
    else:
        near, uniform = store.offsurface_samples(key)
        samples = _some(near if layer == "near" else uniform)
    colors = distance_colors(samples[:, 3].astype(np.float64) * (1.0 if layer == "uniform" else 8.0))
    return ColoredPoints(samples[:, :3].astype(np.float32), (colors * 255).round().astype(np.uint8))


def lattice_distance(store: SampleStore, key: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the signed distance on a shape's coarse lattice, interpolated linearly, as a function of points (N, 3).

    Raises:
        StoreError: The store has no such shape or no coarse lattice, or it is damaged.
    """
    values = store.sparse_distance(key).astype(np.float32)

    def distance(points: torch.Tensor) -> torch.Tensor:
        coordinates = to_lattice_units(points.numpy(force=True), store.config.sparse_resolution)
        return torch.from_numpy(map_coordinates(values, coordinates.T, order=1, mode="nearest"))

    return distance


def sign_remark(info: ShapeInfo) -> str:
    """Return how inside and outside were determined, and whether that is doubtful, in a sentence."""
    sign = info.sign
    doubt = "doubtful" if sign.confidence < DOUBTFUL_CONFIDENCE else "no doubt"
    sheet = f"; {sign.sheet:.0%} of the area are sheets, which were given a thickness" if sign.sheet > 0 else ""
    closed = "closed mesh" if info.watertight else "open mesh"
    return f"Sign: {sign.method}, confidence {sign.confidence:.3f} ({doubt}), {closed}{sheet}"


def _some(samples: NDArray[Any]) -> NDArray[Any]:
    if len(samples) <= _SHOWN_POINTS:
        return samples
    return samples[np.random.default_rng(0).choice(len(samples), _SHOWN_POINTS, replace=False)]
