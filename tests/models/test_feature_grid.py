"""Feature grid: exact reproduction of trilinear functions, derivatives, agreement with reference lookups."""

import pytest
import torch
import torch.nn.functional as F

from latentsdf.models.feature_grid import (
    FeatureGrid,
    corner_rows,
    interpolate_lattice,
    interpolate_rows,
    interpolate_rows_reference,
    trilinear_weights,
)
from latentsdf.utils.torch_lattice import containing_cells


def _points(count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1


def _corners(points: torch.Tensor, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    lower = containing_cells(points, resolution)
    return corner_rows(lower, resolution), trilinear_weights(points, lower, resolution)


def _random_grid(resolution: int, channels: int) -> FeatureGrid:
    grid = FeatureGrid(resolution, channels)
    torch.nn.init.normal_(grid.table, generator=torch.Generator().manual_seed(1))
    return grid


def test_interpolation_of_constant_grid() -> None:
    """Weights sum to 1 everywhere inside and on the box."""
    grid = FeatureGrid(5, 2)
    torch.nn.init.constant_(grid.table, 0.7)
    points = torch.cat((_points(100), torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, 0.2], [0, 0, 1]])))
    torch.testing.assert_close(grid(points), torch.full((104, 2), 0.7))


def test_interpolation_of_linear_function() -> None:
    """Interpolation of a linear function's vertex values is that function."""
    resolution = 6
    axis = torch.linspace(-1, 1, resolution + 1)
    vertices = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    grid = FeatureGrid(resolution, 1)
    grid.table.data = (vertices @ torch.tensor([[1.0], [2.0], [-3.0]])) + 0.5
    points = _points(200)
    expected = points @ torch.tensor([[1.0], [2.0], [-3.0]]) + 0.5
    torch.testing.assert_close(grid(points), expected, atol=1e-5, rtol=0)


def test_lookup_matches_grid_sample() -> None:
    """Features equal torch's grid_sample with aligned corners."""
    grid = _random_grid(7, 3)
    points = _points(300)
    volume = grid.table.detach().reshape(1, 8, 8, 8, 3).permute(0, 4, 1, 2, 3)
    reference = F.grid_sample(volume, points.flip(-1).reshape(1, -1, 1, 1, 3), align_corners=True)
    torch.testing.assert_close(grid(points), reference[0, :, :, 0, 0].T, atol=1e-5, rtol=0)


def test_compiled_lookup_matches_reference_in_value_and_gradients() -> None:
    """Compiled kernels and torch operations agree in features and in both gradients."""
    generator = torch.Generator().manual_seed(2)
    rows, weights = _corners(_points(400), 4)
    table = torch.randn(125, 6, generator=generator)
    down = torch.randn(400, 6, generator=generator)
    found = []
    for lookup in (interpolate_rows, interpolate_rows_reference):
        inputs = (table.clone().requires_grad_(), weights.clone().requires_grad_())
        features = lookup(inputs[0], rows, inputs[1])
        found.append((features, *torch.autograd.grad(features, inputs, down)))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lookup_without_gradients_is_the_same(dtype: torch.dtype) -> None:
    """The kernel without gradients gives the bits of the other way, per shape, outside the box and at NaN."""
    tables = torch.randn(3, 343, 5, generator=torch.Generator().manual_seed(5), dtype=dtype)
    outside = [[1.5, -2, 0.1], [torch.inf, 0, -torch.inf], [torch.nan, 0, 0]]
    special = torch.tensor([[1, 1, 1], [-1, -1, -1], [0, 1 / 3, -1 / 3], *outside], dtype=dtype)
    points = torch.cat((_points(294, dtype), special)).reshape(3, 100, 3)
    differentiable = interpolate_lattice(tables.clone().requires_grad_(), points, 6)
    assert differentiable.requires_grad
    torch.testing.assert_close(
        interpolate_lattice(tables, points, 6), differentiable.detach(), rtol=0, atol=0, equal_nan=True
    )


def test_lookup_keeps_derivatives_where_gradients_are_off() -> None:
    """`torch.func` and forward mode differentiate the lookup also inside of `no_grad`."""
    grid, points = _random_grid(4, 2), _points(6)
    direction = torch.ones_like(points)
    expected = torch.autograd.functional.jvp(grid, points, direction)[1]
    with torch.no_grad():
        by_func = torch.func.jvp(grid, (points,), (direction,))[1]
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(points, direction)
            by_dual = torch.autograd.forward_ad.unpack_dual(grid(dual)).tangent
    torch.testing.assert_close(by_func, expected)
    torch.testing.assert_close(by_dual, expected)


@pytest.mark.slow
def test_first_second_and_forward_derivatives_match_finite_differences() -> None:
    """Reverse, double reverse and forward mode pass gradcheck in rows and points."""
    rows = torch.randn(64, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    points = _points(5, torch.float64).requires_grad_()

    def lookup(table: torch.Tensor, xyz: torch.Tensor) -> torch.Tensor:
        return interpolate_rows(table, *_corners(xyz, 3))

    assert torch.autograd.gradcheck(lookup, (rows, points), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lookup, (rows, points))


def test_function_transform_gradients_match_backward() -> None:
    """torch.func.grad and backward give the same spatial gradient."""
    grid, points = _random_grid(4, 2), _points(50)
    transformed = torch.func.grad(lambda x: grid(x).square().sum())(points)
    tracked = points.clone().requires_grad_()
    grid(tracked).square().sum().backward()
    torch.testing.assert_close(transformed, tracked.grad)


def test_selected_rows_and_their_gradient() -> None:
    """Rows are the unique corners, and their gradient equals the dense one, also after other selections."""
    grid = _random_grid(9, 3)
    points = _points(500)
    grid(points).square().sum().backward()
    assert grid.table.grad is not None
    for _ in range(2):  # The second selection follows a selection of other points.
        selected = grid.select_rows(points)
        features = selected(points)
        torch.testing.assert_close(features, grid(points))
        features.square().sum().backward()
        assert sorted(selected.rows.tolist()) == _corners(points, 9)[0].unique().tolist()
        dense = torch.zeros_like(grid.table)
        dense[selected.rows] = selected.features.grad
        torch.testing.assert_close(dense, grid.table.grad, atol=1e-4, rtol=1e-4)
        grid.select_rows(-points[:77])


def test_cells_of_selected_rows() -> None:
    """A point that rounding moved across a cell face still reads rows of the selection."""
    grid = _random_grid(4, 2)
    on_face = torch.tensor([[0.5, 0.1, 0.1]])
    moved = on_face - torch.tensor([[1e-7, 0.0, 0.0]])
    torch.testing.assert_close(grid.select_rows(on_face)(moved), grid(moved), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dims", [(None, 0, 0), (0, None, None), (0, 0, 0), (None, None, 1)])
def test_vmap_of_lookup(dims: tuple[int | None, ...]) -> None:
    """Vmap over any of table, rows and weights equals a loop, in values, gradients and second derivatives."""
    generator = torch.Generator().manual_seed(4)
    table = torch.randn(3, 27, 2, generator=generator, dtype=torch.float64)
    rows = torch.randint(27, (3, 5, 8), generator=generator)
    weights = torch.rand(3, 5, 8, generator=generator, dtype=torch.float64)
    inputs = [x if dim is not None else x[0] for x, dim in zip((table, rows, weights), dims, strict=True)]
    if dims[2] == 1:
        inputs[2] = inputs[2].transpose(0, 1)

    def slopes(lookup: object) -> object:
        def penalty(t: torch.Tensor, r: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            first = torch.func.grad(lambda *x: lookup(x[0], r, x[1]).pow(3).sum(), argnums=(0, 1))(t, w)  # type: ignore[operator]
            return first[0].square().sum() + first[1].square().sum()

        return lambda t, r, w: (
            lookup(t, r, w),  # type: ignore[operator]
            *torch.func.grad(penalty, argnums=(0, 2))(t, r, w),
        )

    fast = torch.func.vmap(slopes(interpolate_rows), in_dims=dims)(*inputs)  # type: ignore[arg-type]
    plain = torch.func.vmap(slopes(interpolate_rows_reference), in_dims=dims)(*inputs)  # type: ignore[arg-type]
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a, b)
