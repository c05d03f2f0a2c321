"""Sparse normal equations against dense products."""

import pytest
import torch
from torch import Tensor

from latentsdf.latent.inversion.sparse_normal_equations import LocalDerivatives, add_normal_equations

K, P, L, C, R = 2, 40, 5, 3, 2
V = (R + 1) ** 3


@pytest.fixture
def local() -> LocalDerivatives:
    """Derivatives at random points, some of which are outside the box."""
    torch.manual_seed(0)
    return LocalDerivatives.at(torch.rand(K, P, 3) * 2.4 - 1.2, torch.randn(K, P, C), R)


def _dense(local: LocalDerivatives) -> Tensor:
    """Derivatives (K, P, M) by all local codes, vertex by vertex."""
    by_vertex = torch.zeros(K, P, V, C)
    for k in range(K):
        for p in range(P):
            for corner in range(8):
                by_vertex[k, p, local.rows[k, p, corner]] += local.weights[k, p, corner] * local.by_feature[k, p]
    return by_vertex.flatten(2)


def test_products(local: LocalDerivatives) -> None:
    """J^T C J and J^T y are added to what is there; the local codes are between the dense parameters."""
    dense, curvature, slope = torch.randn(K, P, L + 5), torch.rand(K, P), torch.randn(K, P)
    curvature[:, ::3] = slope[:, ::3] = 0
    jacobian = torch.cat((dense[..., :L], _dense(local), dense[..., L:]), dim=2)
    weighted = jacobian * curvature[..., None]
    hessian, gradient = torch.ones(K, L + 5 + V * C, L + 5 + V * C), torch.ones(K, L + 5 + V * C)
    add_normal_equations(hessian, gradient, dense, curvature, slope, local, L)
    torch.testing.assert_close(hessian, 1 + weighted.mT @ jacobian, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradient, 1 + (jacobian * slope[..., None]).sum(1), atol=1e-4, rtol=1e-4)


def test_derivatives_by_regression(local: LocalDerivatives) -> None:
    """If the local codes are a linear function of u, the derivatives by u are the product with its matrix."""
    table = torch.randn(V * C, L)
    torch.testing.assert_close(local.by_table(table), _dense(local) @ table, atol=1e-4, rtol=1e-4)


def test_transformed(local: LocalDerivatives) -> None:
    """Coordinates of the local codes at each vertex, and a scale of the distances."""
    basis, scale = torch.randn(C, C), torch.rand(K, 1) + 0.5
    wanted = (_dense(local).unflatten(2, (V, C)) @ basis).flatten(2) / scale[..., None]
    torch.testing.assert_close(_dense(local.transformed(basis, scale)), wanted)
