"""Settings of screened Poisson reconstruction (Kazhdan and Hoppe 2013) by Open3D.

The octree has at least as many cells per axis as the lattice on which the distance to its surface is stored.
"""

from latentsdf.config.reconstruction import NetworkConfig, ReconstructConfig


def small(_: int) -> ReconstructConfig:
    """A lattice of 192 cells and an octree of depth 8, Open3D's default; it has no training."""
    return ReconstructConfig(method="poisson", model=NetworkConfig(kind="lattice", resolutions=(192,)))
