"""Shortest paths between codes."""

import copy

import numpy as np
import pytest
import torch

from latentsdf.latent.geodesic import step_lengths
from latentsdf.space import ShapeSpace
from latentsdf.utils.errors import EmptyLevelSetError


def test_path_of_shapes_without_surface(space: ShapeSpace) -> None:
    """A path whose shapes have no surface has no length to minimize, which the error states."""
    empty = copy.deepcopy(space)
    with torch.no_grad():
        empty.model.general.last.bias += 10.0
    with pytest.raises(EmptyLevelSetError, match="no shape of the path has a surface"):
        empty.interpolate("table_0000", "table_0001", steps=3, method="shortest")


@pytest.mark.slow
def test_shortest_path_energy(trained_space: ShapeSpace) -> None:
    """The shortest path keeps its ends, has less energy than the straight one, and steps of nearly equal length."""
    ends = ("table_0000", "table_0001", "table_0002")
    straight = trained_space.interpolate(*ends, steps=9)
    shortest = trained_space.interpolate(*ends, steps=9, method="shortest")
    for step, name in zip((0, 4, 8), ends, strict=True):
        np.testing.assert_allclose(shortest[step], trained_space.code(name).numpy(), atol=1e-6)
    for leg in (slice(0, 5), slice(4, 9)):
        plain, short = (
            step_lengths(trained_space.model, torch.from_numpy(np.asarray(path)[leg])) for path in (straight, shortest)
        )
        assert short.square().sum() < plain.square().sum()
        assert short.std() / short.mean() < 0.2
