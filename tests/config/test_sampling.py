"""Ranges of the sampling configuration."""

import pytest

from latentsdf.config.sampling import SamplingConfig
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resolution": 8, "sparse_resolution": 4}, "resolution must be at least 16, got 8"),
        ({"resolution": 100}, "sparse_resolution must divide resolution, got 128 and 100; set it to 50"),
        ({"band_voxels": 0}, "band_voxels must be above 0"),
        ({"near": -1}, "near must be at least 0"),
        ({"sign": "maybe"}, "sign: expected one of"),
    ],
)
def test_invalid_settings(values: dict[str, object], message: str) -> None:
    """The message has the setting and its range."""
    with pytest.raises(ConfigError, match=message):
        SamplingConfig(**values)  # type: ignore[arg-type]


def test_store_without_sparse_lattice() -> None:
    """A sparse resolution of 0 denotes a store without a sparse lattice."""
    assert SamplingConfig(sparse_resolution=0).sparse_resolution == 0
