"""Signed distance from points to a mesh; one function per backend.

Negative inside; units and frame of the mesh. `latentsdf`, our own tree, is exact and the default, and `igl` as exact.
`open3d` and `mesh_to_sdf` are optional and imported when asked for. Points of a lattice are the business of `lattice`
and `sparse`, which need no query per point.
"""

from collections.abc import Callable
from typing import Any

import igl
import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import SignMethod
from latentsdf.geometry.mesh_sdf.sign import SignReport, SignRule, sign_rule
from latentsdf.geometry.mesh_sdf.triangle_bvh import TriangleTree
from latentsdf.utils.errors import ConfigError, MeshError, MissingExtraError

Floats = NDArray[np.float64]
Closest = tuple[Floats, NDArray[np.int64], Floats]
Query = Callable[[Floats], Closest]


class MeshDistance:
    """Signed distance to a mesh: `MeshDistance(mesh)(points (N, 3)) -> (N,)` float64.

    `sign` is a rule of `geometry.sign`; `report` says which one decided and how sure it is. Raises MeshError for a mesh
    without faces, ConfigError for an unknown backend, MissingExtraError for one that is not installed.
    """

    def __init__(self, mesh: trimesh.Trimesh, sign: SignMethod = "auto", backend: str = "latentsdf") -> None:
        if len(mesh.faces) == 0:
            raise MeshError("the mesh has no faces, so there is no surface to measure from; pass a triangle mesh.")
        if backend not in BACKENDS:
            raise ConfigError(f"backend must be one of {', '.join(BACKENDS)}; got '{backend}'.")
        self._query = BACKENDS[backend](mesh)
        self.rule: SignRule
        self.report: SignReport
        self.rule, self.report = sign_rule(mesh, sign)

    def unsigned(self, points: NDArray[np.floating[Any]]) -> Closest:
        """Distance (N,), closest face (N,) and closest point (N, 3) of points (N, 3)."""
        return self._query(_checked(points))

    def __call__(self, points: NDArray[np.floating[Any]]) -> Floats:
        """Signed distance (N,) of points (N, 3)."""
        points = _checked(points)
        distance, face, _ = self._query(points)
        return np.where(self.rule(points, face), -distance, distance)


def _checked(points: NDArray[np.floating[Any]]) -> Floats:
    checked: Floats = np.ascontiguousarray(points, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != 3:
        raise ValueError(f"points must have shape (N, 3), got {checked.shape}.")
    return checked


def _missing(extra: str, name: str, error: ImportError) -> MissingExtraError:
    """Also when the package is there but a system library it loads is not, so the cause is part of the message."""
    return MissingExtraError(f"the backend needs {name}: pip install 'latentsdf[{extra}]'; importing it said: {error}")


def tree_query(mesh: trimesh.Trimesh) -> Query:
    """Exact, float64, by `bvh`; about twice as fast as libigl."""
    return TriangleTree(np.asarray(mesh.triangles, dtype=np.float64)).closest


def igl_query(mesh: trimesh.Trimesh) -> Query:
    """Exact, float64, by a bounding-volume tree built once."""
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)
    tree = igl.AABB()
    tree.init(vertices, faces)

    def query(points: Floats) -> Closest:
        squared, face, closest = tree.squared_distance(vertices, faces, points)
        return np.sqrt(squared).reshape(-1), face.reshape(-1), closest.reshape(-1, 3)

    return query


def open3d_query(mesh: trimesh.Trimesh) -> Query:
    """Embree through Open3D: exact up to float32 rounding."""
    try:
        import open3d
    except ImportError as error:
        raise _missing("open3d", "Open3D", error) from error
    tensor: Any = open3d.core.Tensor
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        tensor(np.asarray(mesh.vertices, dtype=np.float32)),
        tensor(np.asarray(mesh.faces, dtype=np.uint32)),
    )

    def query(points: Floats) -> Closest:
        answer = scene.compute_closest_points(tensor(points.astype(np.float32)))
        closest = answer["points"].numpy().astype(np.float64)
        face = answer["primitive_ids"].numpy().astype(np.int64)
        return np.linalg.norm(points - closest, axis=1), face, closest

    return query


def mesh_to_sdf_query(mesh: trimesh.Trimesh) -> Query:
    """Nearest of 200,000 surface samples, as mesh-to-sdf's `sample` mode: approximate, off by up to 1e-2."""
    try:
        from mesh_to_sdf.surface_point_cloud import sample_from_mesh
    except ImportError as error:
        raise _missing("mesh-to-sdf", "mesh-to-sdf", error) from error
    cloud = sample_from_mesh(mesh, sample_point_count=200_000, calculate_normals=False)
    _, owner, _ = tree_query(mesh)(np.asarray(cloud.points, dtype=np.float64))

    def query(points: Floats) -> Closest:
        distance, nearest = cloud.kd_tree.query(points)
        nearest = nearest.reshape(-1)
        return distance.reshape(-1), owner[nearest], np.asarray(cloud.points, dtype=np.float64)[nearest]

    return query


BACKENDS: dict[str, Callable[[trimesh.Trimesh], Query]] = {
    "latentsdf": tree_query,
    "igl": igl_query,
    "open3d": open3d_query,
    "mesh_to_sdf": mesh_to_sdf_query,
}
