"""Signed distance of arbitrary points to a mesh: exact point-to-triangle distance, one function per backend."""

from collections.abc import Callable
from types import ModuleType
from typing import Literal

import igl
import numpy as np
import trimesh
from jaxtyping import Float, Int32
from numpy.typing import NDArray

from latentsdf.config import SignMethod
from latentsdf.errors import ConfigError, MissingExtraError
from latentsdf.geometry.sign import SignReport, SignRule

Backend = Literal["igl", "open3d", "mesh_to_sdf"]
Points = Float[NDArray[np.float64], "N 3"]
Closest = tuple[Float[NDArray[np.float64], " N"], Int32[NDArray[np.int32], " N"]]


class MeshDistance:
    """A mesh in model space as a signed distance: points (N, 3) -> distance (N,), negative inside, float64."""

    def __init__(self, mesh: trimesh.Trimesh, sign: SignMethod = "auto", backend: Backend = "igl") -> None:
        if backend not in BACKENDS:
            raise ConfigError(f"unknown distance backend '{backend}'; choose from {', '.join(BACKENDS)}")
        self._closest = BACKENDS[backend](mesh)
        self.rule = SignRule(mesh, sign)

    @property
    def report(self) -> SignReport:
        """How inside is decided, and how sure that is."""
        return self.rule.report

    def unsigned(self, points: Points) -> Closest:
        """Distance (N,) and closest face (N,)."""
        return self._closest(np.ascontiguousarray(points, dtype=np.float64))

    def __call__(self, points: Points) -> Float[NDArray[np.float64], " N"]:
        points = np.ascontiguousarray(points, dtype=np.float64)
        distance, face = self._closest(points)
        return np.where(self.rule.inside(points, face), -distance, distance)


def _igl(mesh: trimesh.Trimesh) -> Callable[[Points], Closest]:
    """libigl: exact in float64."""
    vertices = np.ascontiguousarray(mesh.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)

    def closest(points: Points) -> Closest:
        squared, face, _ = igl.point_mesh_squared_distance(points, vertices, faces)
        return np.sqrt(np.atleast_1d(squared)), np.atleast_1d(face).astype(np.int32)

    return closest


def _open3d(mesh: trimesh.Trimesh) -> Callable[[Points], Closest]:
    """Open3D's ray-casting scene: exact to float32 rounding."""
    o3d = _require("open3d", "open3d")
    scene = o3d.t.geometry.RaycastingScene()
    tensor = o3d.core.Tensor
    scene.add_triangles(tensor(np.float32(mesh.vertices)), tensor(np.uint32(mesh.faces)))

    def closest(points: Points) -> Closest:
        query = np.float32(points)
        answer = scene.compute_closest_points(tensor(query))
        distance = np.linalg.norm(query - answer["points"].numpy(), axis=1).astype(np.float64)
        return distance, answer["primitive_ids"].numpy().astype(np.int32)

    return closest


def _mesh_to_sdf(mesh: trimesh.Trimesh) -> Callable[[Points], Closest]:
    """mesh-to-sdf's distance to surface samples: approximate, measured off by up to 1e-2 (PREPROCESSING 1)."""
    module = _require("mesh_to_sdf", "mesh-to-sdf")
    cloud = module.get_surface_point_cloud(mesh, surface_point_method="sample", calculate_normals=True)
    exact = _igl(mesh)

    def closest(points: Points) -> Closest:
        distance = np.abs(cloud.get_sdf(np.float32(points), use_depth_buffer=False)).astype(np.float64)
        return distance, exact(points)[1]

    return closest


def _require(module: str, extra: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"backend '{module}' needs a package that is not installed: pip install 'latentsdf[{extra}]'"
        ) from error


BACKENDS: dict[str, Callable[[trimesh.Trimesh], Callable[[Points], Closest]]] = {
    "igl": _igl,
    "open3d": _open3d,
    "mesh_to_sdf": _mesh_to_sdf,
}
"""A backend takes a mesh and returns points (N, 3) -> distance (N,) and closest face (N,)."""
