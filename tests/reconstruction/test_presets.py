"""Named configurations of the reconstruction methods."""

import pytest

from latentsdf.reconstruction.presets import METHOD_NAMES, preset
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_presets_of_both_sizes(method: str, dim: int) -> None:
    """Every method has a preset with its name, and all but the method of the library have published settings."""
    assert preset(method, dim).method == method
    if method != "latentsdf":
        published = preset(method, dim, paper=True)
        assert published.method == method and published.train.steps >= 10_000
        assert published.train.warmup_steps == 0


def test_unknown_method() -> None:
    """Unknown names are rejected, and so are published settings of methods without them."""
    with pytest.raises(ConfigError, match="method must be one of"):
        preset("poisson", 3)
    with pytest.raises(ConfigError, match="no published settings"):
        preset("latentsdf", 3, paper=True)
