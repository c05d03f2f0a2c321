"""Losses of the user's own: what they see of a step, their weights, and errors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.plugins import install_plugin
from torch import Tensor

from latentsdf.config.model import BranchConfig, GridConfig, ModelConfig
from latentsdf.config.training import Config, LossConfig
from latentsdf.data.point_batches import PointBatch
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training.custom_losses import TrainStep, custom_terms, find_losses, with_losses
from latentsdf.utils.errors import ConfigError, TrainingError

KEYS = ["table/a", "table/b", "table/c"]


def _sphere(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - 0.5


def _small_codes(step: TrainStep) -> Tensor:
    return step.codes.square().mean()


def _model() -> LatentSDF:
    small = BranchConfig(width=8, depth=1)
    grid = GridConfig(resolution=4)
    return LatentSDF(ModelConfig(code_dim=2, warp=BranchConfig(width=0), general=small, overfit=small, grid=grid))


@pytest.fixture
def step() -> TrainStep:
    """Step at half of the run, of the shapes c and a, each with 3 samples off the surface and 2 in the band."""
    generator = torch.Generator().manual_seed(0)
    off, band, box = (torch.rand(2, count, 3, generator=generator) * 2 - 1 for count in (3, 2, 1))
    batch = SdfBatch(torch.tensor([2, 0]), band, _sphere(band), off, _sphere(off), box, box)
    model = _model()
    model.branch = lambda _, points, codes, lookup: _sphere(points) + 0 * codes.sum()  # type: ignore[method-assign] # noqa: ARG005
    codes = torch.tensor([[3.0, 4.0], [0.0, 1.0]], requires_grad=True)
    return TrainStep(model, batch, codes, KEYS, 0.5, None)


def test_samples_of_step(step: TrainStep) -> None:
    """Points and targets are the samples off the surface, then those of the band; keys follow the rows."""
    assert step.keys == ["table/c", "table/a"]
    assert step.points.shape == (2, 5, 3) and step.band_points is step.batch.band_points  # type: ignore[union-attr]
    torch.testing.assert_close(step.target, _sphere(step.points))
    torch.testing.assert_close(step.points[:, 3:], step.band_points)


def test_points_of_step(step: TrainStep) -> None:
    """Of a batch of points, all are on the surface, where the distance is 0."""
    points = torch.rand(2, 4, 3)
    batch = PointBatch(torch.tensor([1, 2]), points, points[..., :0], points, points, points)
    found = TrainStep(step.model, batch, step.codes, KEYS, 0.0, None)
    assert found.points is points and found.band_points is points and found.keys == ["table/b", "table/c"]
    assert torch.equal(found.target, torch.zeros(2, 4))


def test_distance_and_gradient_of_sphere(step: TrainStep) -> None:
    """Of a sphere, the distance at the samples is their target and the gradient is the radial direction."""
    torch.testing.assert_close(step.distance(), step.target)
    torch.testing.assert_close(step.gradient(), step.points / step.points.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(step.distance(branch="overfit"), step.batch.band_distance)  # type: ignore[union-attr]
    elsewhere = torch.full((2, 1, 3), 0.5)
    torch.testing.assert_close(step.distance(elsewhere), torch.full((2, 1), 0.75**0.5 - 0.5))
    for evaluate in (step.distance, step.gradient):
        with pytest.raises(ConfigError, match="the overfit branch only at step.band_points"):
            evaluate(elsewhere, "overfit")


def test_weights_over_progress(step: TrainStep) -> None:
    """A term is the loss times its weight at this progress; a loss of weight 0 is not evaluated."""
    called: list[str] = []

    def unused(_: TrainStep) -> Tensor:
        called.append("unused")
        return torch.zeros(())

    functions = {"mine": _small_codes, "unused": unused}
    terms = custom_terms(functions, {"mine": (2.0, 0.5, 4.0, 6.0), "unused": (1.0, 0.1, 0.0, 0.0)}, step)
    assert list(terms) == ["mine"] and not called
    assert terms["mine"].item() == pytest.approx(4.0 * (9 + 16 + 0 + 1) / 4)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda step: step.codes.square(), r"loss 'mine' must return a scalar tensor.*shape \(2, 2\)"),
        (lambda step: step.codes.mean() * 1j, "loss 'mine' must return a scalar tensor.*complex64 tensor"),
        (lambda _: 1.0, "loss 'mine' must return a scalar tensor, such as a mean, got float"),
        (lambda step: step.codes.detach().mean(), "loss 'mine' trains nothing"),
        (lambda step: step.missing, "loss 'mine' failed: AttributeError: .*missing"),
        (lambda step: step.distance(step.points, "overfit").mean(), "loss 'mine': a loss can evaluate the overfit"),
    ],
    ids=["vector", "complex", "number", "detached", "exception", "overfit elsewhere"],
)
def test_unusable_losses(loss: Any, message: str, step: TrainStep) -> None:
    """Errors name the loss and say what is expected."""
    with pytest.raises((TrainingError, ConfigError), match=message):
        custom_terms({"mine": loss}, {"mine": (1.0,)}, step)


def test_recorded_weights() -> None:
    """The weight of a pair replaces that of the configuration, which a function alone keeps; without either it is 1."""
    config = Config(loss=LossConfig(extra={"kept": 0.2, "replaced": 0.3}))
    schedule = (1.0, 0.5, 0.0, 0.0)
    given = {"kept": _small_codes, "replaced": (_small_codes, schedule), "new": _small_codes}
    changed, functions = with_losses(config, given)
    assert changed.loss.extra == {"kept": (0.2,), "replaced": schedule, "new": (1.0,)}
    assert functions == dict.fromkeys(given, _small_codes)
    assert config.loss.extra == {"kept": (0.2,), "replaced": (0.3,)}


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"eikonal": _small_codes}, "loss.extra: 'eikonal' cannot name a loss"),
        ({"my loss": _small_codes}, "'my loss' cannot name a loss"),
        ({"mine": (_small_codes, -1.0)}, "extra.mine must be at least 0, got -1"),
        ({"mine": 3}, r"losses\['mine'\] must be a function of a TrainStep.*got int"),
        ([_small_codes], "losses must be functions by name, .* got list of length 1"),
    ],
)
def test_invalid_names_and_weights(losses: Any, message: str) -> None:
    """Names of built-in terms, negative weights and values that are not functions are refused."""
    with pytest.raises(ConfigError, match=message):
        with_losses(Config(), losses)


def test_installed_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a given function is that of an installed package; unknown ones are refused with the remedy."""
    install_plugin(tmp_path, monkeypatch, "latentsdf_test_losses")
    found = find_losses({"small_codes": (1.0,), "mine": (1.0,)}, {"mine": _small_codes})
    assert found["mine"] is _small_codes and found["small_codes"].__module__ == "latentsdf_test_losses"
    with pytest.raises(ConfigError, match=r"no loss named 'other': pass the function, ls.train\(losses="):
        find_losses({"other": (1.0,)}, {})
