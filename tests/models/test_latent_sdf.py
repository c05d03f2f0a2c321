"""The dual-branch model."""

import torch

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.models.derivatives import gradient
from latentsdf.models.latent_sdf import LatentCodes, LatentSDF


def _model(**changes: object) -> LatentSDF:
    """A small model with random grid features."""
    torch.manual_seed(0)
    branch = BranchConfig(width=16, depth=3, frequencies=2)
    small = {"code_dim": 8, "general": branch, "overfit": branch, "grid": GridConfig(4, 3)}
    model = LatentSDF(ModelConfig(**(small | changes)))  # type: ignore[arg-type]
    torch.nn.init.normal_(model.grid.table)
    return model


def test_forward_matches_single_branches() -> None:
    """Both branches of forward equal their evaluation by name."""
    model = _model()
    points, codes = torch.rand(2, 6, 3) * 2 - 1, torch.randn(2, 8)
    both = model(points, codes)
    torch.testing.assert_close(both.general, model.branch("general", points, codes))
    torch.testing.assert_close(both.overfit, model.branch("overfit", points, codes))
    assert not torch.allclose(both.general, both.overfit)


def test_residual_overfit_branch() -> None:
    """s_o = s_g + h with `residual`, s_o = h without it, and s_o = s_g where h = 0."""
    points, codes = torch.rand(2, 6, 3) * 2 - 1, torch.randn(2, 8)
    adding, whole = _model(residual=True), _model(residual=False)
    both, alone = adding(points, codes), whole(points, codes)
    torch.testing.assert_close(both.overfit, both.general + alone.overfit)
    torch.nn.init.zeros_(adding.overfit.last.weight)
    assert torch.equal(adding.branch("overfit", points, codes), both.general)


def test_spatial_gradient_matches_central_differences() -> None:
    """The gradient of the general branch equals difference quotients in float64."""
    model = _model(general=BranchConfig(width=16, depth=3, activation="softplus", frequencies=2)).double()
    points, codes = torch.rand(2, 6, 3, dtype=torch.float64) * 1.8 - 0.9, torch.randn(2, 8, dtype=torch.float64)
    slope = gradient(lambda x: model.branch("general", x, codes), points)
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = 1e-6
        ahead, behind = (model.branch("general", points + s * step, codes) for s in (1, -1))
        torch.testing.assert_close(slope[..., axis], (ahead - behind) / 2e-6, atol=1e-5, rtol=1e-4)


def test_initial_identity_and_effect_of_warp() -> None:
    """x_c = x at initialization; with another warp both branches are evaluated at the moved points."""
    model = _model()
    points, codes = torch.rand(2, 6, 3) * 2 - 1, torch.randn(2, 8)
    assert torch.equal(model.canonical(points, codes), points)
    before = model(points, codes)
    assert model.warp is not None
    torch.nn.init.normal_(model.warp.last.weight)
    canonical = model.canonical(points, codes)
    assert not torch.allclose(canonical[0], points[0])
    after = model(points, codes)
    for name in ("general", "overfit"):
        assert not torch.allclose(getattr(before, name), getattr(after, name))
    torch.testing.assert_close(after.general, model.general(canonical, codes).squeeze(-1))


def test_weights_of_model_without_warp() -> None:
    """Canonical points are the points, and the state dict has no warp entries."""
    model = _model(warp=BranchConfig(width=0))
    points, codes = torch.rand(2, 6, 3), torch.randn(2, 8)
    assert model.canonical(points, codes) is points
    assert not any(name.startswith("warp") for name in model.state_dict())


def test_spread_of_latent_codes() -> None:
    """The table has one row per shape and the given standard deviation."""
    torch.manual_seed(0)
    table = LatentCodes(2000, 16, 0, std=0.1).table
    assert table.shape == (2000, 16) and abs(table.std().item() - 0.1) < 0.002
