"""Networks built from their configuration."""

from typing import get_args

import pytest
import torch

from latentsdf.config.reconstruction import MedialConfig, NetworkConfig, NetworkKind
from latentsdf.models.factory import build_network, build_phase_field
from latentsdf.models.feature_pyramid import FeaturePyramid
from latentsdf.utils.errors import ConfigError


def test_configured_initial_slope() -> None:
    """A slope of 0.1 scales the initial field by 0.1."""
    fields = []
    for slope in (1.0, 0.1):
        torch.manual_seed(0)
        fields.append(build_network(NetworkConfig(kind="sine", radius=0.7, slope=slope), 2, 1.1))
    points = torch.rand(50, 2) * 2 - 1
    assert fields[0](points).std() > 0.1
    assert torch.allclose(fields[1](points), 0.1 * fields[0](points), atol=1e-6)


def test_spread_start_of_sine_networks() -> None:
    """The error names the kinds of network that have the start."""
    with pytest.raises(ConfigError, match="spread is for softplus"):
        build_network(NetworkConfig(kind="sine", start="spread"), 2, 1.1)


@pytest.mark.parametrize("kind", get_args(NetworkKind))
@pytest.mark.parametrize("dim", [2, 3])
def test_distances_of_every_network_kind(kind: str, dim: int) -> None:
    """Each kind of network returns one finite value per point."""
    resolutions = (4,) if kind == "lattice" else (4, 8)
    config = NetworkConfig(kind=kind, width=16, depth=2, resolutions=resolutions)  # type: ignore[arg-type]
    network = build_network(config, dim, 1.1)
    distance = network(torch.rand(10, dim))
    assert distance.shape == (10,) and distance.isfinite().all()


def test_several_lattices() -> None:
    """A lattice has one resolution."""
    with pytest.raises(ConfigError, match=r"one number, got \[4, 8\]"):
        NetworkConfig(kind="lattice", resolutions=(4, 8))


@pytest.mark.parametrize(("name", "value"), [("width", 1), ("depth", 1), ("channels", 0)])
def test_too_small_networks(name: str, value: int) -> None:
    """The error names the setting, its minimum and its value."""
    with pytest.raises(ConfigError, match=f"{name}.* at least .*{value}"):
        build_network(NetworkConfig(**{name: value}), 3, 1.1)  # type: ignore[arg-type]


def test_configured_hash_grid() -> None:
    """Grids grow from the base to the finest resolution, and those beyond the table are hashed."""
    config = NetworkConfig(
        kind="hash_grid", levels=3, base_resolution=4, finest_resolution=64, table_bits=10, channels=2
    )
    network = build_network(config, 3, 1.1)
    assert isinstance(network, FeaturePyramid)
    assert network.resolutions.tolist() == [4, 16, 64]
    assert network.table.shape == (5**3 + 2 * 1024, 2)


def test_configured_size_of_phase_field() -> None:
    """Width and number of blocks follow the configuration."""
    config = MedialConfig()
    field = build_phase_field(config, 2)
    assert len(field.blocks) == config.phase_blocks and field.first.weight.shape == (config.phase_width, 2)
