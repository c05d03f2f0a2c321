"""Reference implementations for `preprocess.py`: other libraries on the band and on points, and brute force.

Optional packages are imported by the functions that need them.
"""

import argparse
from typing import Any

import numpy as np
import trimesh


def coarse_to_fine(mesh: trimesh.Trimesh, arguments: argparse.Namespace) -> tuple[Any, Any]:
    """Narrow band by Open3D: subdivide blocks that can intersect the band, then query each vertex."""
    import open3d

    threads, resolution = arguments.threads, arguments.resolution
    scene = open3d.t.geometry.RaycastingScene(nthreads=threads)
    scene.add_triangles(
        open3d.core.Tensor(np.asarray(mesh.vertices, np.float32)), open3d.core.Tensor(np.asarray(mesh.faces, np.uint32))
    )
    width = arguments.band_voxels * 2 / resolution
    side = 32
    corner = np.stack(np.meshgrid(*[np.arange(0, resolution + 1, side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    while True:
        center = (corner + (side - 1) / 2) * (2 / resolution) - 1
        near = scene.compute_distance(open3d.core.Tensor(center.astype(np.float32)), nthreads=threads).numpy()
        corner = corner[near <= width + (side - 1) / resolution * 3**0.5 + 1e-6]
        if side == 4:
            break
        side //= 2
        corner = (corner[:, None] + side * np.stack(np.unravel_index(np.arange(8), (2, 2, 2)), 1)).reshape(-1, 3)
    cells = (corner[:, None] + np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), 1)).reshape(-1, 3)
    cells = cells[(cells <= resolution).all(1)]
    points = open3d.core.Tensor((cells * (2 / resolution) - 1).astype(np.float32))
    unsigned = scene.compute_distance(points, nthreads=threads).numpy()
    index = np.ravel_multi_index(tuple(cells[unsigned <= width].T), (resolution + 1,) * 3)
    order = np.argsort(index)
    kept = open3d.core.Tensor(points.numpy()[unsigned <= width][order])
    return index[order], scene.compute_signed_distance(kept, nthreads=threads).numpy()


def published(mesh: trimesh.Trimesh, points: Any) -> Any:
    """Signed distance by `igl.signed_distance`, as called in Compact-SDF's release."""
    import igl

    return igl.signed_distance(points, np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64))[0].reshape(-1)


def sampled(mesh: trimesh.Trimesh, points: Any) -> Any:
    """Signed distance by mesh-to-sdf without OpenGL, with 1/50 of its default number of samples."""
    from mesh_to_sdf.surface_point_cloud import sample_from_mesh

    return sample_from_mesh(mesh, sample_point_count=200_000).get_sdf_in_batches(points)


def brute_force(mesh: trimesh.Trimesh, points: Any) -> Any:
    """Unsigned distance in float64 by testing every face: its plane inside the prism of the face, else its edges."""
    a = np.asarray(mesh.triangles)
    normal = np.cross(a[:, 1] - a[:, 0], a[:, 2] - a[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    out = np.empty(len(points))
    for q, p in enumerate(points):
        inside, best = length[:, 0] > 0, np.inf
        for s in range(3):
            edge, w = a[:, (s + 1) % 3] - a[:, s], p - a[:, s]
            t = np.clip((w * edge).sum(1) / np.maximum((edge * edge).sum(1), 1e-300), 0, 1)
            best = min(best, np.linalg.norm(w - t[:, None] * edge, axis=1).min())
            inside &= (np.cross(edge, w) * normal).sum(1) >= 0
        if inside.any():
            best = min(best, np.abs(((p - a[:, 0]) * normal).sum(1))[inside].min())
        out[q] = best
    return out
