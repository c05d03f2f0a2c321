"""Derivatives by code and point against autograd, one point at a time."""

import pytest
import torch

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.models.code_jacobian import linearize
from latentsdf.models.latent_sdf import LatentSDF


@pytest.mark.parametrize("conditioning", ["concat", "film", "hyper"])
@pytest.mark.parametrize("per_layer", [False, True])
def test_linearization_matches_autograd(conditioning: str, per_layer: bool) -> None:
    """Values and both gradients of each branch equal a separate reverse pass for every point."""
    torch.manual_seed(0)
    branch = BranchConfig(width=12, depth=3, skip=2, frequencies=1, activation="softplus", conditioning=conditioning)  # type: ignore[arg-type]
    model = LatentSDF(ModelConfig(code_dim=5, general=branch, overfit=branch, grid=GridConfig(4, 3))).double()
    torch.nn.init.normal_(model.grid.table)  # type: ignore[union-attr]
    torch.nn.init.normal_(model.warp.last.weight, 0, 0.1)  # type: ignore[union-attr]
    shape = (2, len(model.conditioned_layers()), 5) if per_layer else (2, 5)
    points, codes = torch.rand(2, 6, 3).double() * 1.6 - 0.8, torch.randn(shape).double()
    for name, found in zip(
        ("general", "overfit"), linearize(model, ("general", "overfit"), points, codes), strict=True
    ):
        at, code = points.clone().requires_grad_(), codes.clone().requires_grad_()
        distance = model.branch(name, at, code)  # type: ignore[arg-type]
        torch.testing.assert_close(found.distance, distance.detach())
        for k in range(2):
            for p in range(6):
                by_point, by_code = torch.autograd.grad(distance[k, p], (at, code), retain_graph=True)
                torch.testing.assert_close(found.point_gradient[k, p], by_point[k, p])
                torch.testing.assert_close(found.code_gradient[k, p], by_code[k])
