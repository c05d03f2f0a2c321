"""Fields of a decoded shape outside the box and at invalid points."""

import numpy as np
import pytest
import torch
from helpers.models import small_latent_model

import latentsdf as ls
from latentsdf.latent.decoded_shape import DecodedShape
from latentsdf.models.latent_sdf import LatentSDF
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


def test_distances_follow_code_and_weights() -> None:
    """Without gradients the code is folded into the layers; changes in place of code and weights are not missed."""
    model = small_latent_model("hyper").eval()
    code = torch.randn(model.config.code_dim, requires_grad=True)
    points = torch.rand(100, 3) * 2 - 1
    shape = DecodedShape(model, code, band_voxels=3.0)

    def require_equal(decoded: LatentSDF) -> None:
        for branch in ("general", "overfit"):
            expected = decoded.branch(branch, points[None], code[None])[0]
            with torch.no_grad():
                found = shape.field(branch)(points)
            torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-5)

    require_equal(model)
    with torch.no_grad():
        code += 1
    require_equal(model)
    code.data += 1  # which changes no version counter
    require_equal(model)
    with torch.no_grad():
        model.general.last.weight *= 2
    require_equal(model)
    model.general.last.weight.data = model.general.last.weight.data / 3
    require_equal(model)
    for weight in model.parameters():
        weight.data.mul_(1.1)
    require_equal(model)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        shape.field("general")(points)
    require_equal(model)
    distance = shape.field("overfit")(points)
    (by_code,) = torch.autograd.grad(distance.sum(), code)
    assert by_code.norm() > 0
