"""Faces turned by what is seen of them from outside, for meshes whose own orientation cannot be trusted.

The side of a face from which more rays escape is outside. A patch is a set of faces joined across edges of exactly two
faces; where its back is seen at least half as much as its front it is a sheet and has no inside.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from latentsdf.geometry.mesh_sdf.triangles import area_of, corner_sets, normals_of, spread

_RAYS = 32
_POINTS_PER_FACE = 3
_FEWEST_POINTS = 4096
_MOST_POINTS = 62_500
_POINTS_AT_ONCE = 15_625
RAY_START = 1e-4
"""How far from a face its sides are looked at, of the bounding-box diagonal: float32 rays must leave their face."""
_SHEET = 0.5
_AGREED = 0.9

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Orientation:
    """What to do with each face (F,)."""

    turn: NDArray[np.int8]
    """1 keep, -1 reverse, 0 leave out of the winding sum: copies of a face, faces without area, and inner walls."""
    sheet: NDArray[np.bool_]
    """Belongs to a patch seen about equally from both sides."""


def orient_by_visibility(vertices: Floats, faces: Ints, seed: int = 0) -> Orientation:
    """Orientation of welded faces (F, 3) by rays that escape from their two sides.

    Doubled faces count once. A patch whose faces nearly all agree decides for each of them: in a narrow cavity more
    rays may leave through holes in the wall than past it. Elsewhere a face no ray escapes from follows its patch. A
    patch of such faces only is an inner wall.
    """
    _, first, copy = np.unique(corner_sets(faces, len(vertices)), return_index=True, return_inverse=True)
    area = area_of(vertices[faces])
    kept = np.sort(first)[area[np.sort(first)] > 0]
    turn, sheet = np.zeros(len(faces), dtype=np.int8), np.zeros(len(faces), dtype=np.bool_)
    if not len(kept):
        return Orientation(turn, sheet)
    weight = area[kept]
    front, back = _escapes(vertices, faces[kept], seed)
    patch, parity = _patches(faces[kept])
    relative = (front - back) * (1 - 2 * parity)
    total = np.bincount(patch, weights=relative * weight)
    more = np.bincount(patch, weights=np.maximum(front, back) * weight)
    less = np.bincount(patch, weights=np.minimum(front, back) * weight)
    inherited = np.where(parity == 1, -total[patch], total[patch])
    agreed = np.abs(total) >= _AGREED * np.bincount(patch, weights=np.abs(relative) * weight)
    own = (front != back) & ~agreed[patch]
    turn[kept] = np.where(np.where(own, front - back, inherited) < 0, -1, 1) * (more > 0)[patch]
    sheet[kept] = (less > _SHEET * more)[patch]
    return Orientation(turn, sheet[first][copy.reshape(-1)])


def _escapes(vertices: Floats, faces: Ints, seed: int) -> tuple[Floats, Floats]:
    """Share of rays that leave the front and the back of each face without hitting the mesh."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    low, diagonal = vertices.min(0), np.linalg.norm(np.ptp(vertices, axis=0))
    corners = (vertices[faces] - low) / diagonal
    scene = EmbreeScene()
    TriangleMesh(scene, corners.astype(np.float32))
    rng = np.random.default_rng(seed)
    per_face = int(np.clip(_MOST_POINTS // len(faces), 1, _POINTS_PER_FACE))
    points, owner = spread(corners, per_face, _FEWEST_POINTS, rng)
    normal = normals_of(corners)[owner]
    escaped = np.zeros((2, len(points)))
    for side, facing in enumerate((normal, -normal)):
        for at in range(0, len(points), _POINTS_AT_ONCE):
            part = facing[at : at + _POINTS_AT_ONCE]
            ray = rng.normal(size=(len(part), _RAYS, 3))
            ray /= np.linalg.norm(ray, axis=2, keepdims=True)
            ray *= np.where(np.einsum("prx,px->pr", ray, part) < 0, -1, 1)[:, :, None]
            ray += 0.05 * part[:, None]  # grazing rays hit the neighbours
            begin = np.repeat(points[at : at + _POINTS_AT_ONCE] + RAY_START * part, _RAYS, axis=0)
            hit = scene.run(begin.astype(np.float32), ray.reshape(-1, 3).astype(np.float32), query="OCCLUDED")
            escaped[side, at : at + _POINTS_AT_ONCE] = (hit == -1).reshape(-1, _RAYS).mean(1)
    count = np.bincount(owner, minlength=len(faces))
    front, back = (np.bincount(owner, weights=share, minlength=len(faces)) / count for share in escaped)
    return front, back


def _patches(faces: Ints) -> tuple[NDArray[np.integer[Any]], Ints]:
    """Label of the patch joined across edges of exactly two faces, and each face's parity within it.

    The doubled graph has a node per face and orientation; faces that agree link like to like. A patch that cannot be
    oriented (a Moebius strip) joins its two copies and gets parity 0 throughout.
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
