"""Settings of the dual-branch model."""

import pytest
import torch

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"code_dim": 0}, "^code_dim must be at least 1, got 0$"),
        ({"band_voxels": 0.0}, "^band_voxels must be above 0, got 0.0$"),
        ({"grid": {"resolution": 0}}, "^grid.resolution must be at least 1, got 0$"),
        ({"grid": {"channels": 0}}, "^grid.channels must be at least 1, got 0$"),
        ({"warp": {"width": -1}}, "^warp.width must be at least 0, got -1$"),
        ({"overfit": {"frequencies": -1}}, "^overfit.frequencies must be at least 0, got -1$"),
        ({"general": {"conditioning": "add"}}, "^general.conditioning: expected one of 'concat', 'film' or 'hyper'"),
        ({"general": {"width": 0}}, r"^model\.general\.width must be at least 1, got 0$"),
        ({"general": {"depth": 0}}, r"^model\.general\.depth must be at least 1, got 0$"),
        ({"overfit": {"depth": 0}}, r"^model\.overfit\.depth must be at least 1, got 0$"),
        ({"warp": {"depth": 2, "skip": 3}}, r"^model\.warp\.skip must be 0 or .*, 2 to 2, got 3$"),
        ({"general": {"depth": 4, "skip": 5}}, r"^model\.general\.skip must be 0 or .*, 2 to 4, got 5$"),
        ({"general": {"depth": 4, "skip": 1}}, r"^model\.general\.skip must be 0 or .*, 2 to 4, got 1$"),
    ],
)
def test_values_out_of_range(values: dict[str, object], message: str) -> None:
    """The error has the name of the setting, its range and the value."""
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**values)  # type: ignore[arg-type]


def test_smallest_dual_branch_model() -> None:
    """The lower bounds of all ranges build a model that returns finite distances of both branches."""
    branch = BranchConfig(width=1, depth=1, frequencies=0)
    config = ModelConfig(
        code_dim=1, warp=branch, general=branch, overfit=branch, grid=GridConfig(resolution=1, channels=1)
    )
    model = LatentSDF(config)
    general, overfit = model(torch.rand(2, 5, 3), torch.randn(2, 1))
    assert general.shape == overfit.shape == (2, 5)
    assert general.isfinite().all() and overfit.isfinite().all()
    assert sum(parameter.numel() for parameter in model.require_grid().parameters()) == 2**3


def test_removed_networks() -> None:
    """Width 0 removes the warp and the overfit branch with its grid, whose skips are not checked then."""
    removed = BranchConfig(width=0, depth=1, skip=9)
    model = LatentSDF(ModelConfig(warp=removed, overfit=removed))
    assert model.warp is None and model.overfit is None and model.grid is None
    points, codes = torch.rand(1, 4, 3), torch.randn(1, 64)
    assert torch.equal(model.canonical(points, codes), points)
