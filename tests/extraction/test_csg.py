"""Boolean operations, offsets and blends of fields, against analytic shapes."""

import math

import numpy as np
import pytest
import torch
import trimesh
from helpers.fields import sphere

from latentsdf.extraction.csg import blend, difference, intersection, offset, union
from latentsdf.extraction.extract import extract
from latentsdf.extraction.field import Field, as_field, in_frame_of
from latentsdf.geometry.similarity import Similarity
from latentsdf.utils.errors import ConfigError

POINTS = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
RADIUS, CENTER = 0.4, 0.3


def _left(points: torch.Tensor) -> torch.Tensor:
    return (points + torch.tensor([CENTER, 0, 0])).norm(dim=1) - RADIUS


def _right(points: np.ndarray) -> np.ndarray:
    """A field that computes with NumPy."""
    return np.linalg.norm(np.asarray(points) - [CENTER, 0, 0], axis=1) - RADIUS


def _placed_ball(center: float, radius: float) -> Field:
    """Ball in its own frame, from the sphere of radius 0.7 in model space."""
    return in_frame_of(sphere, Similarity((center, 0.0, 0.0), 0.7 / radius, 0.4), "cpu")


def test_inside_of_boolean_operations() -> None:
    """A point is inside the result exactly if the Boolean operation of its membership says so."""
    a, b = _left(POINTS) < 0, torch.from_numpy(_right(POINTS.numpy())) < 0
    assert torch.equal(union(_left, _right)(POINTS) < 0, a | b)
    assert torch.equal(intersection(_left, _right)(POINTS) < 0, a & b)
    assert torch.equal(difference(_left, _right)(POINTS) < 0, a & ~b)
    third = difference(_left, _right, lambda points: points[:, 1])
    assert torch.equal(third(POINTS) < 0, a & ~b & (POINTS[:, 1] > 0))


@pytest.mark.slow
def test_volumes_of_extracted_results() -> None:
    """Extracted results have the volumes of two overlapping balls, whose lens is known in closed form."""
    ball = 4 / 3 * math.pi * RADIUS**3
    gap = 2 * CENTER
    lens = math.pi * (4 * RADIUS + gap) * (2 * RADIUS - gap) ** 2 / 12
    for field, volume in (
        (union(_left, _right), 2 * ball - lens),
        (intersection(_left, _right), lens),
        (difference(_left, _right), ball - lens),
        (offset(_left, 0.1), 4 / 3 * math.pi * (RADIUS + 0.1) ** 3),
        (offset(_left, -0.1), 4 / 3 * math.pi * (RADIUS - 0.1) ** 3),
    ):
        assert extract(field, resolution=64).volume == pytest.approx(volume, rel=0.02)


def test_blend() -> None:
    """A blend equals the union where the distances differ by the width, and lies at most a quarter of it below."""
    width = 0.2
    plain, smooth = union(_left, _right)(POINTS), blend(_left, _right, width)(POINTS)
    apart = (_left(POINTS) - torch.from_numpy(_right(POINTS.numpy())).float()).abs() >= width
    assert torch.equal(smooth[apart], plain[apart])
    assert (smooth[~apart] < plain[~apart]).all() and (plain - smooth).max() <= width / 4 + 1e-6
    middle = torch.tensor([[0.0, 0.3, 0.0]])
    assert (union(_left, _right)(middle) - blend(_left, _right, width)(middle)).item() == pytest.approx(width / 4)


@pytest.mark.slow
def test_fields_in_different_frames() -> None:
    """Fields with boxes of their own are combined in one frame, and the result is extracted completely."""
    near, far = _placed_ball(0.0, 2.0), _placed_ball(50.0, 3.0)
    mesh = extract(union(near, far), resolution=128)
    assert len(mesh.split()) == 2
    np.testing.assert_allclose(mesh.bounds, [[-2, -3, -3], [53, 3, 3]], atol=0.05)
    for field, low, high in ((offset(near, 1.5), -3.5, 3.5), (difference(far, near), 47, 53)):
        bounds = extract(field, resolution=64).bounds
        np.testing.assert_allclose((bounds[0, 0], bounds[1, 0]), (low, high), atol=0.05)
    probe = torch.tensor([[25.0, 0.0, 0.0]])
    assert union(near, far)(probe).item() == pytest.approx(22.0, abs=0.05)


def test_gradient_of_union() -> None:
    """The gradient is that of the nearer shape."""
    points = torch.tensor([[-0.9, 0.2, 0.1]], requires_grad=True)
    union(_left, lambda at: sphere(at, 0.2))(points).sum().backward()
    expected = points.detach() + torch.tensor([CENTER, 0, 0])
    torch.testing.assert_close(points.grad, expected / expected.norm())


def test_mesh_as_operand() -> None:
    """A mesh far from the origin is an operand like a field, in its own frame."""
    box = trimesh.creation.box((2, 2, 2)).apply_translation((10, 0, 0))
    inner = torch.tensor([[10.0, 0, 0], [10.5, 0, 0], [12.0, 0, 0]])
    torch.testing.assert_close(as_field(box)(inner), torch.tensor([-1.0, -0.5, 1.0]), atol=1e-5, rtol=0)
    hollow = difference(box, lambda points: (points - torch.tensor([10.0, 0, 0])).norm(dim=1) - 0.5)
    torch.testing.assert_close(hollow(inner), torch.tensor([0.5, 0.0, 1.0]), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_operands() -> None:
    """Other types, missing shapes and impossible widths are refused."""
    with pytest.raises(ConfigError, match="expected a mesh, a field .* got str"):
        union("chair", _left)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="one or more shapes, got none"):
        union()
    with pytest.raises(ConfigError, match="width of a blend must be positive"):
        blend(_left, _right, 0.0)
    with pytest.raises(ConfigError, match="must be finite, got nan"):
        offset(_left, math.nan)
