"""Networks by their configuration."""

from torch import nn

from latentsdf.config.reconstruction import MedialConfig, NetworkConfig
from latentsdf.models.feature_pyramid import FeaturePyramid
from latentsdf.models.phase_field import PhaseField
from latentsdf.models.siren import SineNetwork
from latentsdf.models.softplus_mlp import SoftplusMLP
from latentsdf.utils.errors import ConfigError


def build(config: NetworkConfig, dim: int, extent: float) -> nn.Module:
    """A field of points (N, dim); a pyramid covers [-extent, extent]^dim. ConfigError for sizes that are too small."""
    if config.width < dim:
        raise ConfigError(f"model.width must be at least {dim}, got {config.width}")
    if config.kind == "pyramid":
        return FeaturePyramid(dim, config.resolutions, config.channels, config.width, config.depth, extent)
    if config.kind == "softplus":
        spread = extent if config.start == "spread" else 0.0
        return SoftplusMLP(dim, config.width, config.depth, config.radius, config.skip, spread=spread)
    assert config.start != "spread"
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


def build_phase(config: MedialConfig, dim: int) -> PhaseField:
    """The phase field beside a distance of points (N, dim)."""
    return PhaseField(dim, config.phase_width, config.phase_blocks, config.phase_omega)
