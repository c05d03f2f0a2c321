"""Similarity transforms between the user's frame and model space."""

import math

import numpy as np
import pytest

from latentsdf.geometry.similarity import (
    IDENTITY,
    Similarity,
    combine_similarities,
    compute_normalization,
    in_frame,
    parse_similarity,
)
from latentsdf.utils.errors import ConfigError, MeshError

POINTS = np.random.default_rng(0).normal(size=(50, 3))


def test_yaw_direction() -> None:
    """A positive yaw rotates +z toward +x about the y axis."""
    similarity = Similarity((0.0, 0.0, 0.0), 1.0, math.pi / 2)
    np.testing.assert_allclose(similarity.to_model(np.eye(3)), [[0, 0, -1], [0, 1, 0], [1, 0, 0]], atol=1e-15)


def test_formula_order() -> None:
    """The center is subtracted first, then the points are scaled and rotated."""
    similarity = Similarity((1.0, 2.0, 3.0), 0.5, 0.3)
    expected = [similarity.rotation() @ (0.5 * (point - (1, 2, 3))) for point in POINTS]
    np.testing.assert_allclose(similarity.to_model(POINTS), expected, rtol=1e-12)


@pytest.mark.parametrize("yaw", [0.0, -2.1])
def test_inverse(yaw: float) -> None:
    """`to_user` inverts `to_model`."""
    similarity = Similarity((1.0, 2.0, 3.0), 0.2, yaw)
    np.testing.assert_allclose(similarity.to_user(similarity.to_model(POINTS)), POINTS, atol=1e-12)
    np.testing.assert_allclose(similarity.rotation() @ similarity.rotation().T, np.eye(3), atol=1e-15)


@pytest.mark.parametrize("dim", [2, 3])
def test_normalization_modes(dim: int) -> None:
    """`sphere` bounds the radius and `cube` the half extent by 1/1.03; both center the bounding box."""
    points = 7 * POINTS[:, :dim] + 100
    for mode, size in (("sphere", lambda p: np.linalg.norm(p, axis=1).max()), ("cube", lambda p: np.abs(p).max())):
        model = compute_normalization(points, mode).to_model(points)  # type: ignore[arg-type]
        assert math.isclose(size(model), 1 / 1.03, rel_tol=1e-12)
        np.testing.assert_allclose(model.min(0) + model.max(0), 0, atol=1e-12)


def test_normalization_none() -> None:
    """`none` returns the identity for points inside [-1, 1]^3 and rejects others."""
    assert compute_normalization(0.1 * POINTS, "none") is IDENTITY
    with pytest.raises(MeshError, match=r"coordinates reach 5, outside \[-1, 1\]; use normalization 'sphere'"):
        compute_normalization(np.array([[5.0, 0, 0]]), "none")


def test_combination_of_two() -> None:
    """Between two transforms the scale changes by a constant ratio, the center on a line, the angle the shorter way."""
    first, second = Similarity((0.0, 0.0, 0.0), 1.0, 3.0), Similarity((4.0, 8.0, 0.0), 16.0, -3.0)
    middle = combine_similarities([first, second], [0.5, 0.5])
    assert middle.scale == pytest.approx(4.0) and middle.center == pytest.approx((2.0, 4.0, 0.0))
    assert middle.yaw == pytest.approx(math.pi)  # from 3 to 2 pi - 3
    end = combine_similarities([first, second], [0.0, 1.0])
    np.testing.assert_allclose(end.to_model(POINTS), second.to_model(POINTS), atol=1e-12)


def test_combination_of_differences() -> None:
    """A - B + B is A."""
    a, b = Similarity((1.0, 2.0, 3.0), 0.3, 0.5), Similarity((-4.0, 0.0, 9.0), 7.0, -2.0)
    np.testing.assert_allclose(
        combine_similarities([a, b, b], [1, -1, 1]).to_user(POINTS), a.to_user(POINTS), rtol=1e-9, atol=1e-9
    )


@pytest.mark.usefixtures("without_shape_checks")
def test_frames() -> None:
    """The frame `shape` is that of the transform, `model` that of model space, in the same dimension."""
    planar = Similarity((1.0, 2.0), 0.5)
    assert in_frame(planar, "shape") is planar
    np.testing.assert_array_equal(in_frame(planar, "model").to_user(POINTS[:, :2]), POINTS[:, :2])
    with pytest.raises(ConfigError, match="got 'user'"):
        in_frame(planar, "user")  # type: ignore[arg-type]


def test_coincident_points() -> None:
    """Points without extent cannot be normalized."""
    with pytest.raises(MeshError, match="all 4 points coincide"):
        compute_normalization(np.ones((4, 3)))


@pytest.mark.parametrize(("center", "scale"), [(0.0, 5e-324), (0.0, 1e308), (0.0, 0.0), (1e300, 1.0)])
def test_impossible_transforms(center: float, scale: float) -> None:
    """Transforms of a file whose results have no digits or no finite coordinates are refused."""
    with pytest.raises(ValueError, match="expected a (scale|center)"):
        parse_similarity([center, 0.0, 0.0], scale)
    assert parse_similarity([1e9, 0.0, 0.0], 1e9) == Similarity((1e9, 0.0, 0.0), 1e9)
