"""Models of the user's own: which are accepted, and their interface."""

import pytest
import torch
from torch import nn

from latentsdf.config.model import ModelConfig
from latentsdf.models.code_jacobian import linearize
from latentsdf.models.custom_model import CustomModel, build_model, custom_name
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import ConfigError

CONFIG = ModelConfig(code_dim=4)


class Waves(nn.Module):
    """A distance that depends on point and code in a nonlinear way, without layers of this package."""

    def __init__(self, code_dim: int = 4) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(3, code_dim))

    def forward(self, points: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Signed distances (S, P)."""
        return (points @ self.mix * codes[:, None].exp()).sin().sum(-1)


def test_network_as_general_branch() -> None:
    """The network is both branches, and its module is copied."""
    network = Waves()
    model = build_model(CONFIG, network)
    points, codes = torch.rand(2, 5, 3), torch.randn(2, 4)
    assert isinstance(model, CustomModel) and model.network is not network
    for branch in ("general", "overfit"):
        torch.testing.assert_close(model.branch(branch, points, codes), network(points, codes))  # type: ignore[arg-type]
    assert all(torch.equal(one, network(points, codes)) for one in model(points, codes))
    assert model.grid is None and not model.is_residual and model.conditioned_layers() == []
    assert custom_name(model) == f"{Waves.__module__}.Waves" and custom_name(LatentSDF(CONFIG)) is None


def test_subclass_and_function() -> None:
    """A subclass of `LatentSDF` is used as it is; a function builds a model from the configuration."""

    class Mine(LatentSDF):
        pass

    model = build_model(CONFIG, Mine)
    assert type(model) is Mine and (custom_name(model) or "").endswith("Mine") and model.config == CONFIG
    assert isinstance(build_model(CONFIG, lambda config: Waves(config.code_dim)), CustomModel)
    assert type(build_model(CONFIG)) is LatentSDF


def test_linearization_matches_autograd() -> None:
    """Derivatives by code and point equal a separate reverse pass for every point; inversion depends on them."""
    torch.manual_seed(0)
    model = build_model(CONFIG, Waves()).double()
    points, codes = torch.rand(2, 5, 3).double(), torch.randn(2, 4).double()
    for found in linearize(model, ("general", "overfit"), points, codes):
        at, code = points.clone().requires_grad_(), codes.clone().requires_grad_()
        distance = model.branch("general", at, code)
        torch.testing.assert_close(found.distance, distance.detach())
        for k in range(2):
            for p in range(5):
                by_point, by_code = torch.autograd.grad(distance[k, p], (at, code), retain_graph=True)
                torch.testing.assert_close(found.point_gradient[k, p], by_point[k, p])
                torch.testing.assert_close(found.code_gradient()[k, p], by_code[k])


@pytest.mark.usefixtures("without_shape_checks")
def test_unusable_models() -> None:
    """What is not a module, has no parameters or returns another shape is refused with the expected one."""
    with pytest.raises(ConfigError, match=r"must be a torch.nn.Module or build one from the section model, got int"):
        build_model(CONFIG, lambda _: 3)  # type: ignore[arg-type,return-value]
    for plain in (LatentSDF, LatentSDF(CONFIG)):
        with pytest.raises(ConfigError, match="LatentSDF is the model of every space; leave model out"):
            build_model(CONFIG, plain)
    with pytest.raises(ConfigError, match="Identity has no parameters to train"):
        build_model(CONFIG, nn.Identity())

    class Column(Waves):
        def forward(self, points: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
            """Distances with a superfluous axis."""
            return super().forward(points, codes)[..., None]

    with pytest.raises(
        ConfigError, match=r"points \(2, 5, 3\) and codes \(2, 4\) to distances \(2, 5\), got \(2, 5, 1"
    ):
        build_model(CONFIG, Column()).branch("general", torch.rand(2, 5, 3), torch.randn(2, 4))
