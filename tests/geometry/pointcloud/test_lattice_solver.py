"""Cosine transforms and screened Poisson equations on a lattice."""

import numpy as np
import pytest
from numpy.typing import NDArray

from latentsdf.geometry.pointcloud.lattice_solver import VertexLattice


def _vertices(lattice: VertexLattice) -> NDArray[np.float64]:
    axis = np.linspace(-lattice.extent, lattice.extent, lattice.resolution + 1)
    return np.stack(np.meshgrid(*[axis] * lattice.dim, indexing="ij"), axis=-1)


@pytest.mark.parametrize("dim", [2, 3])
def test_interpolation_of_affine_function(dim: int) -> None:
    """The interpolation matrix reproduces affine functions, also at the corners, and its rows sum to 1."""
    lattice = VertexLattice(dim, 7, 1.3)
    points = np.random.default_rng(0).uniform(-1.3, 1.3, (50, dim))
    points[:2] = [[-1.3] * dim, [1.3] * dim]
    slope = np.arange(1.0, dim + 1)
    matrix = lattice.interpolation(points)
    assert matrix @ (_vertices(lattice) @ slope).ravel() == pytest.approx(points @ slope)
    assert np.asarray(matrix.sum(axis=1)).ravel() == pytest.approx(1)


def test_diffusion_against_dense_matrix() -> None:
    """A diffusion step solves (1 - t lap) u = f with the graph Laplacian of the lattice, and keeps the sum."""
    lattice = VertexLattice(2, 5, 1.0)
    count, time = 36, 0.3
    laplacian = np.zeros((count, count))
    index = np.arange(count).reshape(6, 6)
    starts = np.concatenate((index[:-1].ravel(), index[:, :-1].ravel()))
    ends = np.concatenate((index[1:].ravel(), index[:, 1:].ravel()))
    for a, b in zip(starts, ends, strict=True):
        laplacian[[a, b], [a, b]] += 1 / lattice.spacing**2
        laplacian[[a, b], [b, a]] -= 1 / lattice.spacing**2
    values = np.random.default_rng(0).normal(size=(6, 6))
    found = lattice.diffuse(values, time)
    expected = np.linalg.solve(np.eye(count) + time * laplacian, values.ravel())
    assert found.ravel() == pytest.approx(expected) and found.sum() == pytest.approx(values.sum())


@pytest.mark.parametrize("dim", [2, 3])
def test_integral_of_gradient(dim: int) -> None:
    """A linear function is recovered from its gradient and its zeros, which fix the constant."""
    lattice = VertexLattice(dim, 8, 1.0)
    slope = np.array([0.6, -0.8, 0.2])[:dim]
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (200, dim))
    points -= ((points @ slope - 0.1) / (slope @ slope))[:, None] * slope
    field = [np.full(lattice.shape, component) for component in slope]
    found = lattice.integrate(field, points, np.full(200, 0.01), 5.0)
    assert found == pytest.approx(_vertices(lattice) @ slope - 0.1, abs=1e-3)


def test_screening() -> None:
    """Screening pulls the function to 0 at points where the vector field alone does not."""
    lattice = VertexLattice(2, 32, 1.0)
    field = list(_vertices(lattice).transpose(2, 0, 1))  # the gradient of |x|^2 / 2, which is not 0 on the line
    points = np.stack((np.linspace(-0.9, 0.9, 200), np.zeros(200)), axis=1)
    errors = []
    for screening in (0.1, 100.0):
        values = lattice.integrate(field, points, np.full(200, 0.009), screening)
        errors.append(np.abs(lattice.interpolation(points) @ values.ravel()).mean())
    assert errors[1] < 0.1 * errors[0]
