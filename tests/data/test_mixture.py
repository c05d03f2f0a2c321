"""The sampling distribution of off-surface points."""

import pytest
import torch

from latentsdf.data.mixture import Mixture


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_density(dim: int, share: float) -> None:
    """The mean of 1 / density over the points of a set is its volume."""
    mixture = Mixture(dim, 1.1, 0.5, share)
    points = mixture.draw(200_000, torch.Generator().manual_seed(0))
    for low, high in ((-0.3, 0.4), (0.5, 1.1), (-1.1, 1.1)):
        held = ((points > low) & (points < high)).all(1)
        volume = (held / mixture.density(points)).mean().item()
        assert volume == pytest.approx((high - low) ** dim, rel=0.06)
    assert points.abs().max() <= 1.1
