"""Interpolation of distances on a lattice."""

import pytest
import torch

from latentsdf.models.derivatives import jet
from latentsdf.models.lattice_field import LatticeField


def _bilinear_field(dim: int, resolution: int, extent: float) -> tuple[LatticeField, torch.Tensor]:
    """A lattice with the values of an affine function, and its gradient."""
    slope = torch.tensor([0.5, -2.0, 3.0])[:dim]
    field = LatticeField(dim, resolution, extent)
    axis = torch.linspace(-extent, extent, resolution + 1)
    vertices = torch.stack(torch.meshgrid(*[axis] * dim, indexing="ij"), dim=-1)
    field.values.data.copy_(vertices @ slope + 0.25)
    return field, slope


@pytest.mark.parametrize("dim", [2, 3])
def test_affine_function(dim: int) -> None:
    """An affine function is reproduced between the vertices, with its gradient, along each axis."""
    field, slope = _bilinear_field(dim, 5, 1.2)
    points = torch.rand(100, dim) * 2.4 - 1.2
    at = jet(field, points)
    torch.testing.assert_close(at.distance, points @ slope + 0.25, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(at.gradient, slope.expand(100, dim), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_multilinear_reference(dim: int) -> None:
    """Random values are interpolated axis by axis, as by hand."""
    torch.manual_seed(0)
    field = LatticeField(dim, 4, 1.0)
    field.values.data.normal_()
    points = torch.rand(20, dim) * 2 - 1
    expected = []
    for point in points:
        cell = ((point + 1) * 2).floor().clamp(max=3).long()
        share = (point + 1) * 2 - cell
        block = field.values.data[tuple(slice(i, i + 2) for i in cell.tolist())]
        for fraction in share:
            block = (1 - fraction) * block[0] + fraction * block[1]
        expected.append(block)
    torch.testing.assert_close(field(points).detach(), torch.stack(expected), atol=1e-5, rtol=1e-5)


def test_points_beyond_box() -> None:
    """Beyond the box, the value is that of its nearest point."""
    field, _ = _bilinear_field(2, 4, 1.0)
    torch.testing.assert_close(field(torch.tensor([[1.5, 0.2]])), field(torch.tensor([[1.0, 0.2]])))
