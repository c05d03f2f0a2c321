"""Derivatives by code and point against autograd, one point at a time."""

import numpy as np
import pytest
import torch
from helpers.models import small_latent_model
from helpers.settings import SMALL_MODEL

from latentsdf.config.model import Branch, BranchConfig, Conditioning, GridConfig, LocalCodeConfig, ModelConfig, Recipe
from latentsdf.latent.inversion.sparse_normal_equations import LocalDerivatives
from latentsdf.models.code_jacobian import linearize
from latentsdf.models.latent_sdf import LatentSDF

KINDS = [
    ("concat", "latentsdf"),
    ("concat", "igr"),
    ("concat", "deepsdf"),
    ("film", "latentsdf"),
    ("hyper", "latentsdf"),
]


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
                torch.testing.assert_close(found.code_gradient()[k, p], by_code[k])


def test_linearization_by_local_codes() -> None:
    """With a local part, derivatives are by the global part and by the interpolated local code."""
    torch.manual_seed(0)
    branch = BranchConfig(width=12, depth=3, skip=2, activation="softplus")
    local = LocalCodeConfig(resolution=2, channels=3)
    model = LatentSDF(ModelConfig(code_dim=5, local=local, general=branch, overfit=branch, grid=GridConfig(4, 3)))
    model = model.double()
    torch.nn.init.normal_(model.grid.table)  # type: ignore[union-attr]
    torch.nn.init.normal_(model.warp.last.weight, 0, 0.1)  # type: ignore[union-attr]
    points, codes = torch.rand(2, 6, 3).double() * 1.6 - 0.8, torch.randn(2, 5 + 27 * 3).double()
    found = linearize(model, ("general", "overfit"), points, codes)
    for name, linearized in zip(("general", "overfit"), found, strict=True):
        assert linearized.canonical is not None and linearized.local_gradient is not None
        sparse = LocalDerivatives.at(linearized.canonical, linearized.local_gradient, 2)
        by_local = sparse.by_table(torch.eye(27 * 3).double())
        at, code = points.clone().requires_grad_(), codes.clone().requires_grad_()
        distance = model.branch(name, at, code)  # type: ignore[arg-type]
        for k in range(2):
            for p in range(6):
                by_point, by_code = torch.autograd.grad(distance[k, p], (at, code), retain_graph=True)
                torch.testing.assert_close(linearized.point_gradient[k, p], by_point[k, p])
                torch.testing.assert_close(linearized.code_gradient()[k, p], by_code[k, :5])
                torch.testing.assert_close(by_local[k, p], by_code[k, 5:])


def _model(conditioning: Conditioning, warp: int, recipe: Recipe) -> LatentSDF:
    """A model as after training: without dropout, and with learned lengths where its rows have them."""
    model = small_latent_model(conditioning, warp, recipe).eval()
    for layer in model.conditioned_layers():
        if layer.length is not None:
            layer.length.data *= torch.rand_like(layer.length) + 0.5
    return model


def _check_derivatives(model: LatentSDF) -> None:
    points, codes = torch.rand(2, 700, 3) * 2 - 1, torch.randn(2, SMALL_MODEL.code_dim) * 0.3
    found = linearize(model, ("general", "overfit"), points, codes)
    for branch, linearized in zip(("general", "overfit"), found, strict=True):
        # Slow reference: autograd with one shape per point.
        alone = codes.repeat_interleave(700, 0).requires_grad_()
        where = points.reshape(-1, 1, 3).clone().requires_grad_()
        distance = model.branch(branch, where, alone)  # type: ignore[arg-type]
        by_code, by_point = torch.autograd.grad(distance.sum(), (alone, where))
        torch.testing.assert_close(linearized.distance, distance.detach().view(2, 700), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(linearized.code_gradient(), by_code.view(2, 700, -1), atol=1e-4, rtol=1e-3)
        weights = torch.randn(2, 700)
        total = (weights[..., None] * by_code.view(2, 700, -1)).sum(1)
        torch.testing.assert_close(linearized.code_gradient_sum(weights), total, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(linearized.point_gradient, by_point.view(2, 700, 3), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("conditioning", "recipe"), KINDS)
@pytest.mark.parametrize("warp", [0, 16])
def test_linearization(conditioning: Conditioning, recipe: Recipe, warp: int) -> None:
    """Derivatives by code and point equal autograd."""
    _check_derivatives(_model(conditioning, warp, recipe))


@pytest.mark.parametrize("changes", [{"residual": False}, {"overfit": BranchConfig(width=0)}])
def test_linearization_of_other_models(changes: dict[str, object]) -> None:
    """Derivatives of models without residual or overfit branch equal autograd."""
    _check_derivatives(small_latent_model("hyper", **changes))


@pytest.mark.slow
@pytest.mark.parametrize(("conditioning", "recipe"), KINDS)
@pytest.mark.parametrize("warp", [0, 16])
def test_linearization_by_layer(conditioning: Conditioning, recipe: Recipe, warp: int) -> None:
    """Each code by layer reaches its layer, and its derivatives equal central differences."""
    model = _model(conditioning, warp, recipe).double()
    layers = model.conditioned_layers()
    points = torch.rand(2, 20, 3, dtype=torch.float64) * 2 - 1
    codes = 0.3 * torch.randn(2, len(layers), SMALL_MODEL.code_dim, dtype=torch.float64)
    same = codes[:, :1].expand_as(codes)
    for alike, alone in zip(model(points, same), model(points, codes[:, 0]), strict=True):
        torch.testing.assert_close(alike, alone)
    # Record the code that each layer receives.
    read = {}
    hooks = [layer.register_forward_hook(lambda part, given, _: read.update({part: given[1]})) for layer in layers]
    model(points, codes)
    for hook in hooks:
        hook.remove()
    for i, layer in enumerate(layers):
        assert torch.equal(read[layer], codes[:, i])
    branches: tuple[Branch, Branch] = ("general", "overfit")
    for branch in branches:
        (linearized,) = linearize(model, (branch,), points, codes)
        step = 1e-6
        for i, k in np.ndindex(len(layers), SMALL_MODEL.code_dim):
            offset = torch.zeros_like(codes)
            offset[:, i, k] = step
            up, down = (model.branch(branch, points, codes + sign * offset) for sign in (1, -1))
            torch.testing.assert_close(
                linearized.code_gradient()[:, :, i, k], (up - down) / (2 * step), atol=1e-6, rtol=1e-4
            )
        weights = torch.randn(2, 20, dtype=torch.float64)
        total = torch.einsum("kp,kpnl->knl", weights, linearized.code_gradient())
        torch.testing.assert_close(linearized.code_gradient_sum(weights), total)


def test_bfloat16_products() -> None:
    """Products in bfloat16 change code derivatives by less than 1 % and nothing else."""
    model = small_latent_model("hyper", 16)
    points, codes = torch.rand(2, 700, 3) * 2 - 1, torch.randn(2, SMALL_MODEL.code_dim) * 0.3
    (exact,), (quick,) = (linearize(model, ("general",), points, codes, kind) for kind in (None, torch.bfloat16))
    assert torch.equal(exact.distance, quick.distance) and torch.equal(exact.point_gradient, quick.point_gradient)
    assert 0 < (quick.code_gradient() - exact.code_gradient()).norm() < 0.01 * exact.code_gradient().norm()
