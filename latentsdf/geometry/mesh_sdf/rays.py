"""Rays against a triangle mesh: by Embree or, where it has no wheel (Linux on Arm), by the hierarchy of this package.

Embree computes in float32 and the hierarchy in float64, by the test of Moeller and Trumbore (1997), so that a ray along
an edge may find another face, or pass on the other side of it. Both count a hit from either side of a face.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from latentsdf.geometry.mesh_sdf.triangle_bvh import TriangleBVH
from latentsdf.utils.numba_cache import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EDGE = 1e-9
"""Tolerance in barycentric coordinates, so that no ray passes between two faces that share an edge."""
_RAYS_PER_TASK = 20_000


@runtime_checkable
class RayScene(Protocol):
    """A mesh that rays are cast against."""

    def first_face(
        self, origins: Float[NDArray[np.floating], "N 3"], directions: Float[NDArray[np.floating], "N 3"]
    ) -> Int[NDArray[np.integer], " N"]:
        """Return the first face that each ray hits, and -1 for none.

        Args:
            origins: Start of each ray, where the mesh is not hit.
            directions: Directions, of any length above 0.
        """

    def is_hit(
        self, origins: Float[NDArray[np.floating], "N 3"], directions: Float[NDArray[np.floating], "N 3"]
    ) -> Bool[NDArray[np.bool_], " N"]:
        """Return whether each ray hits a face."""


def ray_scene(corners: Float[NDArray[np.float64], "F 3 3"]) -> RayScene:
    """Prepare a mesh for rays.

    Args:
        corners: Corners of the faces, of about unit size around the origin, because Embree computes in float32.
    """
    return _Embree(corners) if has_embree() else _Hierarchy(corners)


def has_embree() -> bool:
    """Return whether Embree can be imported."""
    try:
        import embreex  # noqa: F401
    except ImportError:
        return False
    return True


class _Embree:
    def __init__(self, corners: Floats) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.scene = EmbreeScene()
        TriangleMesh(self.scene, corners.astype(np.float32))

    def first_face(self, origins: NDArray[np.floating], directions: NDArray[np.floating]) -> NDArray[np.integer]:
        return np.asarray(self.scene.run(origins.astype(np.float32), directions.astype(np.float32)))

    def is_hit(self, origins: NDArray[np.floating], directions: NDArray[np.floating]) -> NDArray[np.bool_]:
        found = self.scene.run(origins.astype(np.float32), directions.astype(np.float32), query="OCCLUDED")
        return np.asarray(found != -1)


class _Hierarchy:
    def __init__(self, corners: Floats) -> None:
        self.tree = TriangleBVH(np.ascontiguousarray(corners, dtype=np.float64))

    def first_face(self, origins: NDArray[np.floating], directions: NDArray[np.floating]) -> Ints:
        found = self._trace(origins, directions, False)
        return np.where(found >= 0, self.tree.order[found], -1)

    def is_hit(self, origins: NDArray[np.floating], directions: NDArray[np.floating]) -> NDArray[np.bool_]:
        return self._trace(origins, directions, True) >= 0

    def _trace(self, origins: NDArray[np.floating], directions: NDArray[np.floating], any_hit: bool) -> Ints:
        starts = np.ascontiguousarray(origins, dtype=np.float64)
        along = np.ascontiguousarray(directions, dtype=np.float64)
        face = np.empty(len(starts), dtype=np.int64)

        def trace(first: int) -> None:
            part = slice(first, first + _RAYS_PER_TASK)
            face[part] = _trace(self.tree.corners, self.tree.boxes, starts[part], along[part], any_hit)

        tasks = range(0, len(starts), _RAYS_PER_TASK)
        if len(tasks) < 2:
            list(map(trace, tasks))
        else:
            with ThreadPoolExecutor(int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))) as threads:
                list(threads.map(trace, tasks))
        return face


@compiled(nogil=True, error_model="numpy")
def _trace(corners: Floats, boxes: Floats, origins: Floats, directions: Floats, any_hit: bool) -> Ints:
    """First face (N,) in tree order that each ray hits, or with `any_hit` some face; -1 for none.

    The tree is that of `TriangleBVH`; the nearer child is visited first.
    """
    faces, leaves = len(corners), (len(boxes) + 1) // 2
    result = np.full(len(origins), -1, np.int64)
    stack, distance = np.empty(64, np.int64), np.empty(64)
    for n in range(len(origins)):
        o, d = origins[n], directions[n]
        best = np.inf
        stack[0], distance[0], depth = 0, _enter_box(boxes[0], o, d), 1
        while depth:
            depth -= 1
            node = stack[depth]
            if not distance[depth] < best:
                continue
            if node >= leaves - 1:
                k = node - (leaves - 1)
                for f in range(faces * k // leaves, faces * (k + 1) // leaves):
                    t = _hit_distance(corners[f], o, d)
                    if t < best:
                        best, result[n] = t, f
                if any_hit and result[n] >= 0:
                    break
                continue
            near, far = 2 * node + 1, 2 * node + 2
            t_near, t_far = _enter_box(boxes[near], o, d), _enter_box(boxes[far], o, d)
            if t_near > t_far:
                near, far, t_near, t_far = far, near, t_far, t_near
            stack[depth], distance[depth] = far, t_far
            stack[depth + 1], distance[depth + 1] = near, t_near
            depth += 2
    return result


@compiled(nogil=True, error_model="numpy")
def _enter_box(box: Floats, o: Floats, d: Floats) -> float:
    """Distance at which the ray enters a box (2, 3), in lengths of d; 0 if it starts inside, infinite for a miss."""
    enter, leave = 0.0, np.inf
    for axis in range(3):
        if d[axis] == 0.0:
            if o[axis] < box[0, axis] or o[axis] > box[1, axis]:
                return np.inf
            continue
        first, second = (box[0, axis] - o[axis]) / d[axis], (box[1, axis] - o[axis]) / d[axis]
        enter, leave = max(enter, min(first, second)), min(leave, max(first, second))
    # Rounding must not cut off a face that lies in a side of its box.
    return enter * (1 - 1e-12) if enter <= leave * (1 + 1e-12) + 1e-12 else np.inf


@compiled(nogil=True, error_model="numpy")
def _hit_distance(corner: Floats, o: Floats, d: Floats) -> float:
    """Distance to a triangle with corners (3, 3) along a ray, in lengths of d; infinite for a miss."""
    ax, ay, az = corner[1, 0] - corner[0, 0], corner[1, 1] - corner[0, 1], corner[1, 2] - corner[0, 2]
    bx, by, bz = corner[2, 0] - corner[0, 0], corner[2, 1] - corner[0, 1], corner[2, 2] - corner[0, 2]
    px, py, pz = d[1] * bz - d[2] * by, d[2] * bx - d[0] * bz, d[0] * by - d[1] * bx
    determinant = ax * px + ay * py + az * pz
    if determinant == 0.0:
        return np.inf
    sx, sy, sz = o[0] - corner[0, 0], o[1] - corner[0, 1], o[2] - corner[0, 2]
    u = (sx * px + sy * py + sz * pz) / determinant
    if u < -_EDGE or u > 1 + _EDGE:
        return np.inf
    qx, qy, qz = sy * az - sz * ay, sz * ax - sx * az, sx * ay - sy * ax
    v = (d[0] * qx + d[1] * qy + d[2] * qz) / determinant
    if v < -_EDGE or u + v > 1 + _EDGE:
        return np.inf
    t = (bx * qx + by * qy + bz * qz) / determinant
    return t if t > 0 else np.inf
