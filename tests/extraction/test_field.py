"""Validated evaluation of fields on lattice vertices."""

import numpy as np
import pytest
import torch
from helpers.fields import sphere

from latentsdf.extraction.field import FieldSampler, SignedDistance
from latentsdf.extraction.sparse_lattice import allocate
from latentsdf.utils.errors import LatentSDFError


def _sampler(field: SignedDistance, level: float = 0.0) -> FieldSampler:
    return FieldSampler("test", field, level, 1000, "cpu")


def test_lattice_values_and_padding() -> None:
    """Vertices inside the box get exact values, padding gets +inf, and vertices outside the mask stay absent."""
    lattice = allocate(16)
    mask = lattice.vertex_mask()
    mask[0] = False
    _sampler(sphere, level=0.1).evaluate(lattice, mask)
    inside = mask & ~lattice.padding_mask()
    points = torch.from_numpy(lattice.vertex_indices(inside)).float() / 8 - 1
    np.testing.assert_allclose(lattice.value[inside], sphere(points).numpy() - 0.1, atol=1e-6)
    assert np.isinf(lattice.value[mask & lattice.padding_mask()]).all()
    assert np.isnan(lattice.value[0]).all() and np.array_equal(lattice.exact, mask)


def test_chunk_size_and_recorded_range() -> None:
    """No call receives more points than the chunk, and the range covers all values."""
    sizes = []

    def field(points: torch.Tensor) -> torch.Tensor:
        sizes.append(len(points))
        return sphere(points)

    sampler = _sampler(field)
    values = sampler(np.array(list(np.ndindex(17, 17, 17)), dtype=np.int32), 16)
    assert max(sizes) == 1000 and sum(sizes) == 17**3
    assert (sampler.low, sampler.high) == (values.min(), values.max())


def test_wrong_shapes_and_non_finite_values() -> None:
    """Errors name the field, the expected shape and the first invalid point."""
    index = np.zeros((4, 3), dtype=np.int32)
    with pytest.raises(ValueError, match=r"the test field must return .* shape \(4,\), got shape \(4, 1\)"):
        _sampler(lambda p: sphere(p)[:, None])(index, 16)
    with pytest.raises(LatentSDFError, match=r"test field is not finite at 4 of 4 points, the first at \(-1.0000, -1"):
        _sampler(lambda p: sphere(p) * torch.nan)(index, 16)


@pytest.mark.parametrize(("radius", "side"), [(-0.5, "outside"), (3.0, "inside"), (0.7, "on either side")])
def test_side_in_empty_level_set_error(radius: float, side: str) -> None:
    """The error states on which side of the level all evaluated values are."""
    sampler = _sampler(lambda p: sphere(p, radius))
    sampler(np.array([[0, 0, 0], [8, 8, 8]], dtype=np.int32), 16)
    assert f", {side} of level 0, " in str(sampler.empty_level_set_error())
