"""Construction of reconstruction networks from their configuration."""

from torch import nn

from latentsdf.config.reconstruction import MedialConfig, NetworkConfig
from latentsdf.models.feature_pyramid import FeaturePyramid, growing_resolutions
from latentsdf.models.lattice_field import LatticeField
from latentsdf.models.lipschitz_mlp import LipschitzMLP
from latentsdf.models.phase_field import PhaseField
from latentsdf.models.siren import SineNetwork
from latentsdf.models.softplus_mlp import SoftplusMLP
from latentsdf.utils.errors import ConfigError


def build_network(config: NetworkConfig, dim: int, extent: float) -> nn.Module:
    """Build the network of a field.

    Args:
        config: Kind and size of the network.
        dim: Dimension of the points, 2 or 3.
        extent: Half side of the box [-extent, extent]^dim that feature grids and lattices cover and over which the
            units of a `spread` start are distributed.

    Returns:
        A module from points (N, dim) to distances (N,).

    Raises:
        ConfigError: The width is below `dim`.
    """
    if config.width < dim:
        raise ConfigError(f"model.width must be at least {dim}, got {config.width}")
    if config.kind == "pyramid":
        return FeaturePyramid(dim, config.resolutions, config.channels, config.width, config.depth, extent)
    if config.kind == "hash_grid":
        resolutions = growing_resolutions(config.levels, config.base_resolution, config.finest_resolution)
        rows = 2**config.table_bits
        return FeaturePyramid(dim, resolutions, config.channels, config.width, config.depth, extent, max_rows=rows)
    if config.kind == "lipschitz":
        return LipschitzMLP(dim, config.width, config.depth)
    if config.kind == "lattice":
        return LatticeField(dim, config.resolutions[0], extent)
    if config.kind in ("softplus", "relu"):
        spread = extent if config.start == "spread" else 0.0
        return SoftplusMLP(
            dim,
            config.width,
            config.depth,
            config.radius,
            config.skip,
            spread=spread,
            hotspot=config.start == "hotspot",
            slope=config.slope,
            rectifier=config.kind == "relu",
            weight_norm=config.weight_norm,
            frequencies=config.frequencies,
        )
    return SineNetwork(
        dim,
        config.width,
        config.depth,
        start=config.start,
        quadratic=config.kind == "quadratic",
        radius=config.radius,
        slope=config.slope,
        omega=config.omega,
    )


def build_phase_field(config: MedialConfig, dim: int) -> PhaseField:
    """Build the phase field of the medial-axis method for points (N, dim)."""
    return PhaseField(
        dim,
        config.phase_width,
        config.phase_blocks,
        config.phase_omega,
        kind=config.phase_kind,
        gain=config.phase_gain,
    )
