"""Paths through training codes: on a curve, between clusters, and between equal codes."""

import numpy as np

from latentsdf.latent.neighbor_path import neighbor_path


def circle(angles: np.ndarray) -> np.ndarray:
    """Points of the unit circle, with a local part of two values that grows with the angle."""
    return np.stack((np.cos(angles), np.sin(angles), angles, -angles), axis=1).astype(np.float32)


def test_path_along_circle() -> None:
    """The path follows training codes on a half circle in equal steps, with their local parts."""
    training = circle(np.linspace(0, np.pi, 101))
    path = neighbor_path(training[0], training[-1], training, 9, 2)
    np.testing.assert_allclose(path, circle(np.linspace(0, np.pi, 9)), atol=2e-3)
    assert np.array_equal(path[[0, -1]], training[[0, -1]])


def test_path_between_clusters() -> None:
    """Clusters farther apart than their codes have neighbors are joined; the gap is crossed in a straight line."""
    rng = np.random.default_rng(0)
    training = rng.normal(0, 0.01, (100, 3)).astype(np.float32)
    training[50:, 0] += 10
    path = neighbor_path(training[3], training[60], training, 11, 3)
    np.testing.assert_allclose(path[:, 0], np.linspace(0, 10, 11), atol=0.1)
    np.testing.assert_allclose(path[:, 1:], 0, atol=0.1)


def test_path_between_equal_codes() -> None:
    """A path from a code to itself stays there."""
    training = circle(np.linspace(0, 1, 20))
    new = circle(np.array([0.31]))[0]
    assert np.array_equal(neighbor_path(new, new, training, 4, 2), np.repeat(new[None], 4, axis=0))
