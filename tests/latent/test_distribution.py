"""Distribution of the codes of a space: proportions, categories, and the stored form."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latentsdf.config.model import ModelConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.distribution import CodeDistribution
from latentsdf.latent.training_shapes import TrainingShapes
from latentsdf.utils.errors import ConfigError

MODEL = ModelConfig(code_dim=2)


def distribution() -> CodeDistribution:
    """30 chairs with codes around (3, 0), and 10 tables around (-3, 0)."""
    keys = [f"chair/{n}" for n in range(30)] + [f"table/{n}" for n in range(10)]
    places = [Similarity((1.0 if n < 20 else 3.0, 0.0, 0.0), 2.0) for n in range(40)]
    codes = 0.1 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    codes[:30, 0] += 3
    codes[30:, 0] -= 3
    return CodeDistribution(TrainingShapes(keys, places, frozenset(), Path("space")), codes, MODEL, None)


def test_samples_follow_the_proportions_of_the_categories() -> None:
    """Three of four samples are chairs; those of a category are near its codes."""
    codes = distribution()
    assert codes.counts == {"chair": 30, "table": 10}
    drawn = codes.sample(400, 0)
    assert ((drawn[:, 0].abs() - 3).abs() < 1).all()
    assert abs(float((drawn[:, 0] > 0).float().mean()) - 0.75) < 0.07
    assert (codes.sample(50, 1, "table")[:, 0] < 0).all()
    assert torch.equal(codes.sample(5, 2), codes.sample(5, 2))
    with pytest.raises(ConfigError, match="expected one of chair, table, got str 'tabel'; did you mean 'table'"):
        codes.sample(1, 0, "tabel")


def test_mean_place() -> None:
    """The place is the mean of the centers, at the geometric mean of the scales."""
    assert distribution().place.center == pytest.approx((2.0, 0.0, 0.0))
    assert distribution().place.scale == pytest.approx(2.0)


def test_stored_distribution_replaces_that_of_the_codes() -> None:
    """A space that holds few codes samples from the distribution of all."""
    whole = distribution()
    few = TrainingShapes(["chair/0"], [Similarity((0.0, 0.0, 0.0), 1.0)], frozenset(), Path("packed"))
    packed = CodeDistribution(few, torch.zeros(1, 2), MODEL, whole.to_stored())
    assert packed.counts == whole.counts and packed.place == whole.place
    assert torch.equal(packed.gaussian.basis, whole.gaussian.basis)
    assert torch.equal(packed.sample(20, 3), whole.sample(20, 3))
    assert replace(packed.to_stored(), mixtures={}) == replace(whole.to_stored(), mixtures={})
