"""Settings of the default method."""

from itertools import pairwise

import pytest

from latentsdf.config.reconstruction import SECOND_ORDER_TERMS
from latentsdf.config.schedules import is_used, schedule_value
from latentsdf.reconstruction.methods import latentsdf


@pytest.mark.parametrize("dim", [2, 3])
def test_documented_weights(dim: int) -> None:
    """The surface and guide terms start at weight 10; the heat term ends at 0 and the guide does not."""
    loss = latentsdf.small(dim).loss
    assert (loss.surface, loss.eikonal, loss.normals) == ((10.0,), (0.1,), (0.1,))
    assert loss.eikonal_norm == "l1" and not loss.normals_cosine
    assert schedule_value(loss.guide, 0.0) == schedule_value(loss.guide, 0.5) == 10
    assert schedule_value(loss.heat, 0.5) > 0 == schedule_value(loss.heat, 1.0)
    assert schedule_value(loss.guide, 1.0) > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_pyramid_levels(dim: int) -> None:
    """Each grid halves the cells of the previous one, and no loss needs second derivatives, which are 0 in cells."""
    config = latentsdf.small(dim)
    levels = config.model.resolutions
    assert config.model.kind == "pyramid" and config.denoise
    assert all(fine == 2 * coarse for coarse, fine in pairwise(levels))
    assert not any(is_used(getattr(config.loss, term)) for term in SECOND_ORDER_TERMS)
