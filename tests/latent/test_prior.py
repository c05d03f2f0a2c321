"""New codes from the distribution of the training codes."""

from pathlib import Path

import numpy as np
import pytest

import latentsdf as ls
from latentsdf.space import ShapeSpace


@pytest.fixture(scope="module")
def space(space_path: Path) -> ShapeSpace:
    """The space trained on the four tables."""
    return ls.load(space_path, device="cpu")


def test_samples_directions_and_sums(space: ShapeSpace) -> None:
    """Samples have the mean and spread of the training codes, directions are principal ones."""
    codes = space.codes.numpy()
    np.testing.assert_allclose(space.mean(), codes.mean(0), atol=1e-6)
    np.testing.assert_allclose(space.direction(0, [0.0])[0], space.mean(), atol=1e-6)
    drawn = space.sample(20_000, seed=3)
    np.testing.assert_allclose(drawn.mean(0), space.mean(), atol=0.05 * drawn.std(0).max())
    first = np.linalg.svd(codes - codes.mean(0))[2][0]
    spread = space.direction(0, [-1.0, 1.0])
    assert abs(first @ (spread[1] - spread[0])) == pytest.approx(np.linalg.norm(spread[1] - spread[0]), rel=1e-4)
    assert drawn.std(0).max() <= np.linalg.norm(spread[1] - spread[0]) / 2 * 1.05
    terms = (1.0, "table_0001"), (-1.0, "table_0000"), (1.0, "table_0000")
    np.testing.assert_allclose(space.combine(*terms), space.code("table_0001").numpy(), atol=1e-5)


def test_invalid_samples(space: ShapeSpace) -> None:
    """A direction that does not exist and no samples at all are refused."""
    with pytest.raises(ls.ConfigError, match="principal directions 0 to 7, got 8"):
        space.direction(8)
    with pytest.raises(ls.ConfigError, match="at least 1 shape"):
        space.sample(0)
