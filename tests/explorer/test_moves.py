"""Moves along principal directions and between shapes."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from latentsdf.explorer.moves import blended, coordinates, corner_weights, moved
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.space import ShapeSpace


def test_coordinates_of_shapes_along_a_direction(space: "ShapeSpace") -> None:
    """Coordinates are those that `direction` was given."""
    code = space.direction(2, [1.5])[0]
    expected = np.zeros(space.config.model.code_dim)
    expected[2] = 1.5
    np.testing.assert_allclose(coordinates(space, code), expected, atol=1e-3)


def test_moved_from_the_mean_equals_direction(space: "ShapeSpace") -> None:
    """A move from the mean is a shape along a direction."""
    shift = np.zeros(space.config.model.code_dim, dtype=np.float32)
    shift[1] = -2
    code = moved(space, space.mean(), shift)
    np.testing.assert_allclose(np.asarray(code), np.asarray(space.direction(1, [-2])[0]), atol=1e-5)


def test_moved_by_nothing_is_the_same_code(space: "ShapeSpace") -> None:
    """Codes that do not move keep their refined detail."""
    code = space[space.ids[0]]
    assert moved(space, code, np.zeros(space.config.model.code_dim, dtype=np.float32)) is code


def test_codes_by_layer_move_with_the_code(space: "ShapeSpace") -> None:
    """All layers move by the change of the code."""
    code = space[space.ids[0]]
    layers = np.tile(np.asarray(code), (len(space.model.conditioned_layers()), 1)) + np.float32(0.01)
    shift = np.ones(space.config.model.code_dim, dtype=np.float32)
    found = moved(space, replace(code, layers=layers), shift)
    assert found.layers is not None
    offset = np.asarray(moved(space, code, shift)) - np.asarray(code)
    np.testing.assert_allclose(found.layers - layers, np.broadcast_to(offset, layers.shape), atol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(0, 0, (1, 0, 0, 0)), (1, 0, (0, 1, 0, 0)), (0, 1, (0, 0, 1, 0)), (1, 1, (0, 0, 0, 1))]
)
def test_corners(x: float, y: float, expected: tuple[float, ...]) -> None:
    """Each corner has its shape alone."""
    assert corner_weights(4, x, y) == expected


def test_weights_sum_to_one_and_positions_are_clamped() -> None:
    """Positions beyond the pad count as on its border."""
    assert sum(corner_weights(4, 0.3, 0.8)) == pytest.approx(1)
    assert corner_weights(2, 0.25, 0.9) == (0.75, 0.25)
    assert corner_weights(4, -3, 5) == (0, 0, 1, 0)
    with pytest.raises(ConfigError, match="2 or 4"):
        corner_weights(3, 0, 0)


def test_blend_at_a_corner_is_its_shape(space: "ShapeSpace") -> None:
    """Corners are exact, and the middle is the mean."""
    names = space.ids[:4]
    found = blended(space, names, 1, 0)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(space[names[1]]))
    middle = blended(space, names, 0.5, 0.5)
    np.testing.assert_allclose(np.asarray(middle), np.mean([np.asarray(space[name]) for name in names], 0), atol=1e-6)
