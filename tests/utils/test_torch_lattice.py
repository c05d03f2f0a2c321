"""Lattice indices and positions against their definition."""

import numpy as np
import pytest
import torch

from latentsdf.utils.torch_lattice import containing_cells, lattice_coordinates, vertex_positions


@pytest.mark.parametrize("resolution", [5, 128, 300])
def test_vertex_positions_match_definition_rounded_once(resolution: int) -> None:
    """Positions equal -1 + 2 i / R in float64, rounded to float32, and their ends are exactly -1 and 1."""
    positions = vertex_positions(torch.arange(resolution + 1), resolution)
    expected = (np.arange(resolution + 1) * (2 / resolution) - 1).astype(np.float32)
    assert np.array_equal(positions.numpy(), expected)
    assert positions[0] == -1 and positions[-1] == 1


def test_lattice_coordinates_of_vertex_positions() -> None:
    """The lattice coordinate of a vertex position is its index."""
    index = torch.randint(0, 65, (200, 3), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lattice_coordinates(vertex_positions(index, 64), 64), index.float())


def test_cells_of_inner_outer_and_nan_points() -> None:
    """Cell centers belong to their cell, points outside the box to the nearest cell, NaN to cell 0."""
    index = torch.tensor(list(np.ndindex(4, 4, 4)))
    centers = (index + 0.5) / 2 - 1
    assert torch.equal(containing_cells(centers, 4), index)
    outside = torch.tensor([[-3.0, 0.1, 1.0], [2.0, torch.nan, -1.0]])
    assert containing_cells(outside, 4).tolist() == [[0, 2, 3], [3, 0, 0]]
