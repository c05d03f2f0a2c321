"""Screened Poisson surface reconstruction (Kazhdan and Hoppe 2013) by Open3D, which contains the authors' code."""

from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.utils.errors import MeshError, MissingExtraError

Floats = NDArray[np.float64]


def screened_poisson_mesh(
    points: Float[Floats, "N 3"], normals: Float[Floats, "N 3"], depth: int, threads: int = 1
) -> trimesh.Trimesh:
    """Reconstruct a surface from oriented points.

    Args:
        points: Points of the surface.
        normals: Outward unit normals.
        depth: Depth of the octree: 2^depth cells along the longest side of the cloud's box, enlarged by a tenth.
        threads: Number of threads; the result depends on it, in the last digits.

    Returns:
        The surface, which is closed if the cloud is, with outward orientation.

    Raises:
        MissingExtraError: Open3D is not installed.
        MeshError: There is no surface.
    """
    try:
        import open3d
    except ImportError as error:
        raise MissingExtraError(
            f"poisson needs Open3D: pip install 'latentsdf[open3d]'; importing it failed with: {error}"
        ) from error
    cloud: Any = open3d.geometry.PointCloud()
    cloud.points = open3d.utility.Vector3dVector(points)
    cloud.normals = open3d.utility.Vector3dVector(normals)
    surface, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth, n_threads=threads)
    mesh = trimesh.Trimesh(np.asarray(surface.vertices), np.asarray(surface.triangles), process=False)
    if not len(mesh.faces):
        raise MeshError("screened Poisson reconstruction found no surface; check the normals of the points")
    return mesh
