"""Methods without training, whose result is a signed distance on a lattice.

`signed_heat`   generalized signed distance by the heat method (`geometry.pointcloud.signed_heat`), 2D and 3D
`poisson`       screened Poisson reconstruction by Open3D (`geometry.pointcloud.screened_poisson`), 3D: the exact
                distance to its surface

Both use the normals of the cloud, which are estimated and oriented first if it has none.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.mesh_sdf.full_lattice import full_lattice_distance
from latentsdf.geometry.mesh_sdf.lattice_sign import lattice_inside
from latentsdf.geometry.mesh_sdf.sign import sign_rule
from latentsdf.geometry.pointcloud.denoising import denoise
from latentsdf.geometry.pointcloud.lattice_solver import VertexLattice
from latentsdf.geometry.pointcloud.orientation import OrientedPointCloud
from latentsdf.geometry.pointcloud.point_cloud import PointCloud
from latentsdf.geometry.pointcloud.screened_poisson import screened_poisson_mesh
from latentsdf.geometry.pointcloud.signed_heat import signed_heat_distance
from latentsdf.models.lattice_field import LatticeField
from latentsdf.utils.errors import ConfigError

Floats = NDArray[np.float64]


def solve_on_lattice(
    cloud: PointCloud, config: ReconstructConfig, device: torch.device
) -> tuple[LatticeField, list[dict[str, int | float]]]:
    """Compute a signed distance without training.

    Args:
        cloud: The cloud in model space.
        config: Configuration; its method is one of `LATTICE_METHODS`.
        device: Device of the result.

    Returns:
        The field, and a history with one entry: the time and the mean |u| at the points of the cloud.

    Raises:
        ConfigError: The method does not support the dimension of the cloud.
        MissingExtraError: Open3D is not installed.
        MeshError: Screened Poisson reconstruction found no surface.
    """
    started = time.monotonic()
    points = denoise(cloud.points) if config.denoise else cloud.points
    values = _SOLVERS[config.method](OrientedPointCloud(points, cloud.normals), config)
    field = LatticeField(cloud.dim, config.model.resolutions[0], config.extent)
    with torch.no_grad():
        field.values.copy_(torch.from_numpy(values))
        error = field(torch.from_numpy(points.astype(np.float32))).abs().mean().item()
    return field.to(device), [{"step": 1, "seconds": time.monotonic() - started, "surface": error}]


def _signed_heat(cloud: OrientedPointCloud, config: ReconstructConfig) -> Floats:
    lattice = VertexLattice(cloud.dim, config.model.resolutions[0], config.extent)
    return signed_heat_distance(cloud.points, cloud.normals, cloud.area, cloud.spacing, lattice)


def _poisson(cloud: OrientedPointCloud, config: ReconstructConfig) -> Floats:
    if cloud.dim != 3:
        raise ConfigError("poisson reconstructs surfaces from points (N, 3); use signed_heat for planar points")
    resolution = config.model.resolutions[0]
    mesh = screened_poisson_mesh(cloud.points, cloud.normals, math.ceil(math.log2(resolution)), torch.get_num_threads())
    mesh.vertices = mesh.vertices / config.extent  # the lattice of the distances covers [-1, 1]^3
    distance, face = full_lattice_distance(mesh, resolution, torch.get_num_threads())
    index = np.arange(distance.size)
    inside = lattice_inside(sign_rule(mesh)[0], index, resolution, distance.ravel(), face.ravel())
    return config.extent * np.where(inside.reshape(distance.shape), -distance, distance).astype(np.float64)


_SOLVERS: dict[str, Callable[[OrientedPointCloud, ReconstructConfig], Floats]] = {
    "signed_heat": _signed_heat,
    "poisson": _poisson,
}
