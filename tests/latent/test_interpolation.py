"""Interpolation paths, and the smoothness of surfaces along them."""

import numpy as np
import pytest
import trimesh

import latentsdf as ls
from latentsdf.latent.interpolation import interpolate, smoothness
from latentsdf.space import ShapeSpace


def test_spherical_path() -> None:
    """Directions rotate at constant speed and norms are interpolated; opposite directions are refused."""
    ends = np.array([[2, 0, 0], [0, 4, 0], [0, 0, 4], [0, 0, 8]], dtype=np.float32)
    path = interpolate(ends, 10, "spherical")
    angle = np.radians([0, 30, 60, 90])
    turned = np.stack((np.cos(angle), np.sin(angle), np.zeros(4)), axis=1) * np.linspace(2, 4, 4)[:, None]
    np.testing.assert_allclose(path[:4], turned, atol=1e-5)
    np.testing.assert_allclose(path[6:, 2], [4, 16 / 3, 20 / 3, 8], rtol=1e-5)
    code = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    for other in (-code, -3 * code, np.float32(1e-5) * code[:, ::-1] - code):
        with pytest.raises(ls.ConfigError, match="opposite directions.*use linear"):
            interpolate(np.concatenate((code, other)), 5, "spherical")
        np.testing.assert_allclose(interpolate(np.concatenate((code, other)), 3)[1], (code + other)[0] / 2, atol=1e-6)
    # For nearly opposite directions the path is still the arc spanned by the codes.
    aside = np.array([[1, 0], [-1, 0.01]], dtype=np.float32)
    middle = interpolate(aside, 3, "spherical")[1]
    np.testing.assert_allclose(middle, (0.005, 1), atol=1e-4)


@pytest.mark.slow
def test_smoothness_of_growing_spheres() -> None:
    """Travel equals the difference of radii; its variation separates steady from uneven growth."""
    sizes = {"steady": (0.3, 0.4, 0.5, 0.6), "jerky": (0.3, 0.32, 0.58, 0.6)}
    found = {n: smoothness([trimesh.creation.icosphere(4, r) for r in radii]) for n, radii in sizes.items()}
    np.testing.assert_allclose(found["steady"].displacement, 0.1, rtol=0.03)
    assert found["steady"].variation < 0.03 < 0.9 < found["jerky"].variation
    two = trimesh.util.concatenate([trimesh.creation.icosphere(1).apply_translation((x, 0, 0)) for x in (0, 5)])
    assert smoothness([two, two]).pieces == [2, 2]


def test_invalid_paths(space: ShapeSpace) -> None:
    """A path needs one step for each of its codes, and a shortest one the model."""
    with pytest.raises(ls.ConfigError, match="pass model and prior"):
        interpolate(np.zeros((2, 3)), 4, "shortest")
    for method in ("linear", "spherical", "shortest", "prior"):
        with pytest.raises(ls.ConfigError, match="a path through 3 codes needs at least as many steps, got 2"):
            space.interpolate("table_0000", "table_0001", "table_0002", steps=2, method=method)


def test_shortest_path_between_equal_codes(space: ShapeSpace) -> None:
    """A path between equal codes stays there; the prior does not move its inner codes."""
    path = np.asarray(space.interpolate("table_0000", "table_0000", steps=4, method="shortest"))
    np.testing.assert_array_equal(path, np.repeat(path[:1], 4, axis=0))
