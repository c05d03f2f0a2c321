"""Small facts about triangles: areas, normals, angles, points on them."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def area_of(corners: Floats) -> Floats:
    """Areas (F,) of triangles (F, 3, 3)."""
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(np.linalg.norm(cross, axis=1) / 2)


def normals_and_angles(corners: Floats) -> tuple[Floats, Floats]:
    """Unit normals (F, 3), zero for faces without area, and the angles at the corners (F, 3)."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    ahead, behind = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    sine = np.linalg.norm(np.cross(ahead, behind), axis=2)
    return normal, np.arctan2(sine, (ahead * behind).sum(2))


def spread(corners: Floats, per_face: int, more: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Random points (P, 3) on the triangles (F, 3, 3) and their triangles (P,), in order: `per_face` on each, and
    about `more` besides, by area, so that large triangles get many.
    """
    area = area_of(corners)
    count = per_face + np.round(more * area / area.sum()).astype(np.int64)
    owner = np.repeat(np.arange(len(corners)), count)
    weight = rng.dirichlet((1.5, 1.5, 1.5), len(owner))
    return np.einsum("pc,pcx->px", weight, corners[owner]), owner
