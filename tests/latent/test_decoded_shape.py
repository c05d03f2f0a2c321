"""Fields of a decoded shape outside the box and at invalid points."""

import numpy as np
import pytest
import torch

import latentsdf as ls
from latentsdf.space import ShapeSpace


@pytest.mark.slow
def test_extension_beyond_box(space: ShapeSpace) -> None:
    """Outside the box the distance to the box is added to the field at its closest point."""
    points = np.random.default_rng(0).normal(size=(300, 3)) * 3
    points[0] = (1e30, 0, 0)
    inside = points.clip(-1, 1)
    apart = np.linalg.norm(points - inside, axis=1)
    assert 0.5 < (apart > 0).mean() < 1
    far = space.distance("table_0000", points, frame="model")
    near = space.distance("table_0000", inside, frame="model")
    np.testing.assert_allclose(far, near + apart, rtol=1e-5, atol=1e-5)
    for field in (space.field("table_0000", "overfit", frame="model"), space.fused("table_0000", frame="model")):
        outer, inner = (field(torch.from_numpy(p).float()).numpy() for p in (points, inside))
        np.testing.assert_allclose(outer, inner + apart, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_non_finite_points(space: ShapeSpace) -> None:
    """Points that are not finite are counted in the error; empty arrays are accepted."""
    points = np.zeros((5, 3))
    points[1], points[3, 2], points[4, 0] = np.nan, -np.inf, 1e300  # the last one is no float32
    broken = torch.as_tensor(points, dtype=torch.float32)
    for call in (
        lambda: space.distance("table_0000", points),
        lambda: space.field("table_0000", "general")(broken),
        lambda: space.field("table_0000", "overfit")(broken),
        lambda: space.fused("table_0000")(broken),
        lambda: space.band("table_0000").contains(broken),
    ):
        with pytest.raises(ls.ConfigError, match="3 of 5 points are not finite numbers; remove them"):
            call()
    with pytest.raises(ls.ConfigError, match=r"points must have shape \(N, 3\), got .*\(3,\)"):
        space.distance("table_0000", np.zeros(3))
    assert len(space.distance("table_0000", np.zeros((0, 3)))) == 0
