"""Orientation of the faces of a damaged mesh by visibility from outside.

Rays start on both sides of each face; let e_front and e_back be the shares that escape without hitting the mesh. The
side with the larger share is outside, so a face with e_back > e_front is reversed. Faces are connected into patches
across edges that exactly two faces share, which makes their relative orientation known:

    patch orientation   s = sign(sum over faces of area * parity * (e_front - e_back)),  parity = +1 or -1
    sheet               sum of area * min(e_front, e_back) > sum of area * max(e_front, e_back) / 2

A sheet is visible about equally from both sides and bounds no volume.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from latentsdf.geometry.mesh_sdf.rays import ray_scene
from latentsdf.geometry.mesh_sdf.triangles import corner_set_ids, sample_triangles, triangle_areas, triangle_normals

_RAYS = 32  # from each side of each point
_POINTS_PER_FACE = 3
_MIN_POINTS = 4096
_MAX_POINTS = 62_500
_POINTS_PER_BATCH = 15_625
RAY_OFFSET = 1e-4
"""Distance of ray origins from their face, in bounding-box diagonals, so that float32 rays do not hit this face."""
_SHEET_RATIO = 0.5
_UNANIMITY = 0.9  # of |sum of votes| / sum of |votes|; above it the whole patch is oriented by its majority

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FaceOrientation:
    """Orientation of each face (F,) of a mesh."""

    sign: NDArray[np.int8]
    """+1 keep; -1 reverse; 0 exclude from the winding number (duplicate, degenerate, or an inner wall)."""
    is_sheet: NDArray[np.bool_]
    """True for faces of a patch that is about equally visible from both sides."""


def orient_by_visibility(vertices: Floats, faces: Ints, seed: int = 0) -> FaceOrientation:
    """Orient faces so that the side from which more rays escape is in front.

    Duplicate faces count once. If nearly all votes of a patch agree, all of its faces follow the majority, because
    in a narrow cavity more rays may escape through holes in the wall than through its opening. Otherwise each face is
    oriented by its own vote, and a face from which no ray escapes follows the majority. Patches that consist only of
    such faces are inner walls.

    Args:
        vertices: Welded vertices (V, 3).
        faces: Faces (F, 3).
        seed: Seed of the ray origins and directions.

    Returns:
        Orientation of the faces (F,).
    """
    _, first, copy = np.unique(corner_set_ids(faces, len(vertices)), return_index=True, return_inverse=True)
    area = triangle_areas(vertices[faces])
    kept = np.sort(first)[area[np.sort(first)] > 0]
    sign, is_sheet = np.zeros(len(faces), dtype=np.int8), np.zeros(len(faces), dtype=np.bool_)
    if not len(kept):
        return FaceOrientation(sign, is_sheet)
    weight = area[kept]
    front, back = _escape_shares(vertices, faces[kept], seed)
    patch, parity = _patches(faces[kept])
    vote = (front - back) * (1 - 2 * parity)
    total = np.bincount(patch, weights=vote * weight)
    larger = np.bincount(patch, weights=np.maximum(front, back) * weight)
    smaller = np.bincount(patch, weights=np.minimum(front, back) * weight)
    of_patch = np.where(parity == 1, -total[patch], total[patch])
    unanimous = np.abs(total) >= _UNANIMITY * np.bincount(patch, weights=np.abs(vote) * weight)
    decides_itself = (front != back) & ~unanimous[patch]
    sign[kept] = np.where(np.where(decides_itself, front - back, of_patch) < 0, -1, 1) * (larger > 0)[patch]
    is_sheet[kept] = (smaller > _SHEET_RATIO * larger)[patch]
    return FaceOrientation(sign, is_sheet[first][copy.reshape(-1)])


def _escape_shares(vertices: Floats, faces: Ints, seed: int) -> tuple[Floats, Floats]:
    """Shares (F,) of the rays from the front and from the back of each face that do not hit the mesh."""
    low, diagonal = vertices.min(0), np.linalg.norm(np.ptp(vertices, axis=0))
    corners = (vertices[faces] - low) / diagonal
    scene = ray_scene(corners)
    rng = np.random.default_rng(seed)
    per_face = int(np.clip(_MAX_POINTS // len(faces), 1, _POINTS_PER_FACE))
    points, owner = sample_triangles(corners, per_face, _MIN_POINTS, rng)
    normal = triangle_normals(corners)[owner]
    escaped = np.zeros((2, len(points)))
    for side, side_normals in enumerate((normal, -normal)):
        for first in range(0, len(points), _POINTS_PER_BATCH):
            normals = side_normals[first : first + _POINTS_PER_BATCH]
            ray = rng.normal(size=(len(normals), _RAYS, 3))
            ray /= np.linalg.norm(ray, axis=2, keepdims=True)
            ray *= np.where(np.einsum("prx,px->pr", ray, normals) < 0, -1, 1)[:, :, None]
            ray += 0.05 * normals[:, None]  # grazing rays would hit neighboring faces
            origin = np.repeat(points[first : first + _POINTS_PER_BATCH] + RAY_OFFSET * normals, _RAYS, axis=0)
            hit = scene.is_hit(origin, ray.reshape(-1, 3))
            escaped[side, first : first + _POINTS_PER_BATCH] = (~hit).reshape(-1, _RAYS).mean(1)
    count = np.bincount(owner, minlength=len(faces))
    front, back = (np.bincount(owner, weights=share, minlength=len(faces)) / count for share in escaped)
    return front, back


def _patches(faces: Ints) -> tuple[NDArray[np.integer[Any]], Ints]:
    """Patch label (F,) of each face, and its parity (F,): 1 if it is reversed relative to its patch, else 0.

    Computes connected components of a graph with two nodes per face, one per orientation; an edge shared by exactly two
    faces connects the orientations that are consistent across it. The two copies of a patch that is not orientable (a
    Moebius strip) are connected, and all its faces get parity 0.
    """
    start, end = faces, np.roll(faces, -1, axis=1)
    key = (np.minimum(start, end) * (faces.max() + 1) + np.maximum(start, end)).ravel()
    along = (start < end).ravel()
    order = np.argsort(key, kind="stable")
    _, first, count = np.unique(key[order], return_index=True, return_counts=True)
    one, two = order[first[count == 2]], order[first[count == 2] + 1]
    crossed = (along[one] == along[two]).astype(np.int64)
    a, b, size = one // 3, two // 3, len(faces)
    rows = np.concatenate([a, a + size])
    columns = np.concatenate([b + size * crossed, b + size * (1 - crossed)])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(2 * size, 2 * size))
    label = connected_components(graph, directed=False)[1]
    upper, lower = label[:size], label[size:]
    patch = np.unique(np.minimum(upper, lower), return_inverse=True)[1]
    return patch, (upper > lower).astype(np.int64)
