"""Settings of the generalized signed distance (Feng and Crane 2024), which `geometry.pointcloud.signed_heat` states."""

from latentsdf.config.reconstruction import NetworkConfig, ReconstructConfig


def small(dim: int) -> ReconstructConfig:
    """A lattice of 512 (2D) or 128 (3D) cells per axis; it has no training."""
    model = NetworkConfig(kind="lattice", resolutions=(512,) if dim == 2 else (128,))
    return ReconstructConfig(method="signed_heat", model=model)
