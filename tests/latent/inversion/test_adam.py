"""Published inversions by Adam, beside loops written out as in the releases."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.points import oriented_sphere_points
from helpers.settings import TINY_MODEL

import latentsdf as ls
from latentsdf.config.inversion import ADAM_RECIPES, AdamConfig
from latentsdf.config.model import BranchConfig, ModelConfig
from latentsdf.geometry.similarity import IDENTITY
from latentsdf.latent.inversion.adam import _draw, _groups, fit_by_adam
from latentsdf.latent.inversion.invert import invert
from latentsdf.latent.inversion.observation import Observation
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.space import ShapeSpace

DEEPSDF = ModelConfig(
    code_dim=6,
    warp=BranchConfig(width=0),
    general=BranchConfig(width=16, depth=3, skip=2, conditioning="concat", frequencies=0, recipe="deepsdf"),
    overfit=BranchConfig(width=0),
)


def _model(config: ModelConfig = DEEPSDF) -> LatentSDF:
    torch.manual_seed(0)
    model = LatentSDF(config)
    if model.grid is not None:
        torch.nn.init.normal_(model.grid.table)
    return model.requires_grad_(False)


def _ball(radius: float = 0.5, count: int = 400) -> Observation:
    """Exact distances of a ball at random points, and points of its surface."""
    points = np.random.default_rng(1).uniform(-1, 1, (count, 3)).astype(np.float32)
    distance = np.linalg.norm(points, axis=1) - np.float32(radius)
    surface, normals = (array.astype(np.float32) for array in oriented_sphere_points(radius, count))
    return Observation(points, distance, distance, IDENTITY, None, surface, normals)


def _steps(code: torch.Tensor, losses: Any, steps: int, lr: float) -> torch.Tensor:
    """Adam of torch, with a tenth of the rate in the second half."""
    code = code.clone().requires_grad_()
    adam = torch.optim.Adam([code], lr=lr)
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * 0.1 ** (step // (steps // 2))
        adam.zero_grad()
        losses(code).backward()
        adam.step()
    return code.detach()


def _same_rows(observation: Observation, config: AdamConfig, rows: np.ndarray, rng: np.random.Generator) -> Any:
    groups = _groups(observation, rows, config)
    return lambda: torch.from_numpy(_draw(groups, config.points, rng))


def test_loop_of_deepsdf() -> None:
    """The steps equal those of the release: clamped mean absolute error, 1e-4 mean z^2, no dropout."""
    seen, model, config = _ball(), _model(), replace(ADAM_RECIPES["deepsdf"], steps=10, points=64)
    code, history = fit_by_adam(model.train(), seen, config, 5, lambda: None)
    assert model.training and len(history) == 10
    model.eval()
    rng = np.random.default_rng(5)
    start = torch.from_numpy(rng.normal(0, 0.01, 6).astype(np.float32))
    draw = _same_rows(seen, config, np.arange(400), rng)
    points, distance = torch.from_numpy(seen.points), torch.from_numpy(seen.low)

    def loss(z: torch.Tensor) -> torch.Tensor:
        rows = draw()
        found = model.branch("general", points[rows][None], z[None])[0]
        error = torch.nn.L1Loss()(found.clamp(-0.1, 0.1), distance[rows].clamp(-0.1, 0.1))
        return error + 1e-4 * torch.mean(z.pow(2))

    torch.testing.assert_close(code, _steps(start, loss, 10, 5e-3), rtol=0, atol=1e-7)
    assert not torch.equal(code, start)


@pytest.mark.parametrize("overfit", ["band", "all"])
def test_loop_of_compact_sdf(overfit: Any) -> None:
    """Both branches have samples of their own, those of the overfit branch where it was trained."""
    seen, model = _ball(), _model(TINY_MODEL)
    config = replace(ADAM_RECIPES["compact_sdf"], steps=6, points=64, overfit=overfit)
    code, _ = fit_by_adam(model, seen, config, 5, lambda: None)
    rng = np.random.default_rng(5)
    start = torch.from_numpy(rng.normal(0, 0.01, 8).astype(np.float32))
    band = np.flatnonzero(np.abs(seen.low) < 0.05) if overfit == "band" else np.arange(400)
    draws = {"general": _same_rows(seen, config, np.arange(400), rng), "overfit": _same_rows(seen, config, band, rng)}
    points, distance = torch.from_numpy(seen.points), torch.from_numpy(seen.low)

    def loss(z: torch.Tensor) -> torch.Tensor:
        total = 1e-4 * z.square().mean()
        for branch, draw in draws.items():
            rows = draw()
            found = model.branch(branch, points[rows][None], z[None])[0]  # type: ignore[arg-type]
            total = total + (found - distance[rows]).abs().mean()
        return total

    torch.testing.assert_close(code, _steps(start, loss, 6, 5e-3), rtol=0, atol=1e-6)


def test_loop_of_igr() -> None:
    """The steps equal those of the release, with gradients by autograd of each term on its own."""
    seen, model = (
        _ball(),
        _model(replace(DEEPSDF, general=replace(DEEPSDF.general, recipe="igr", activation="softplus"))),
    )
    config = replace(ADAM_RECIPES["igr"], steps=6, points=100)
    code, _ = fit_by_adam(model, seen, config, 5, lambda: None)
    rng = np.random.default_rng(5)
    start = torch.from_numpy(rng.normal(0, 1 / 6, 6).astype(np.float32))
    assert seen.surface is not None and seen.normals is not None
    rows = rng.choice(400, 100, replace=False)
    points, normals = torch.from_numpy(seen.surface[rows]), torch.from_numpy(seen.normals[rows])
    noise = torch.Generator().manual_seed(int(rng.integers(2**63)))

    def gradient(x: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.clone().requires_grad_()
        found = model.branch("general", x[None], z[None])[0]
        return found, torch.autograd.grad(found.sum(), x, create_graph=True)[0]

    def loss(z: torch.Tensor) -> torch.Tensor:
        local = points + torch.randn(100, 3, generator=noise) * 0.01
        box = torch.rand(12, 3, generator=noise) * (1.8 * 2) - 1.8
        surface, on_surface = gradient(points, z)
        off_surface = gradient(torch.cat((local, box)), z)[1]
        terms = surface.abs().mean() + (on_surface - normals).abs().norm(2, dim=1).mean()
        return terms + 0.1 * (off_surface.norm(2, dim=-1) - 1).pow(2).mean() + 1e-3 * z.abs().mean()

    torch.testing.assert_close(code, _steps(start, loss, 6, 5e-3), rtol=0, atol=1e-6)


def test_draws() -> None:
    """Half of the samples are inside, or half near the surface; sides without samples leave their share to others."""
    seen, rng = _ball(), np.random.default_rng(0)
    everywhere = np.arange(400)
    rows = _draw(_groups(seen, everywhere, AdamConfig(draw="signs")), 1000, rng)
    assert (seen.low[rows] < 0).sum() == 500 and len(rows) == 1000
    inside_share = (seen.low < 0).mean()
    rows = _draw(_groups(seen, everywhere, AdamConfig(draw="even")), 20_000, rng)
    assert (seen.low[rows] < 0).mean() == pytest.approx(inside_share, abs=0.01)
    rows = _draw(_groups(seen, everywhere, AdamConfig(draw="near")), 20_000, rng)
    near = np.abs(seen.low) <= 0.1
    expected = 0.5 + 0.25 * near[seen.low > 0].mean() + 0.25 * near[seen.low < 0].mean()
    assert near[rows].mean() == pytest.approx(expected, abs=0.01)
    outside = np.flatnonzero(seen.low > 0)
    assert set(_draw(_groups(seen, outside, AdamConfig(draw="signs")), 500, rng)) <= set(outside)
    unknown = replace(seen, low=-np.abs(seen.low), high=np.abs(seen.low))
    rows = _draw(_groups(unknown, everywhere, AdamConfig(draw="signs")), 5000, rng)
    assert set(rows) == set(everywhere)  # no side is known


def test_bounds() -> None:
    """Samples contribute the excess over their bounds."""
    seen, model = _ball(), _model()
    loose = replace(seen, low=seen.low - 10, high=seen.high + 10)
    config = AdamConfig(steps=3, draw="even", clamp=0.0, prior=0.0)
    code, history = fit_by_adam(model, loose, config, 0, lambda: None)
    assert (history == 0).all()
    assert np.array_equal(code, np.random.default_rng(0).normal(0, 0.01, 6).astype(np.float32))


def test_fits_do_not_depend_on_others() -> None:
    """Each observation has the same start and samples, alone or beside others; the result says which code it is."""
    model, config = _model(), ls.InvertConfig(method="adam", adam=AdamConfig(steps=4, points=50), assess=False)
    seen = [_ball(0.5), _ball(0.4)]
    both = invert(model, torch.zeros(2, 6), seen, config)
    alone = invert(model, torch.zeros(2, 6), seen[1:], config)[0]
    assert np.array_equal(both[1].code, alone.code) and not np.array_equal(both[0].history, alone.history)
    assert alone.layers is None and len(alone.history) == 4 and alone.residual > 0


def test_missing_points_and_normals(space: ShapeSpace) -> None:
    """IGR's inversion needs points of the surface and their normals."""
    points = oriented_sphere_points(0.8, 300)[0]
    shifts = np.random.default_rng(0).uniform(-0.1, 0.1, 300)
    signed = np.column_stack((points * (1 + shifts[:, None] / 0.8), shifts))
    for target, message in ((signed, "fits points of the surface"), (points, "needs normals of the points")):
        with pytest.raises(ls.MeshError, match=message):
            space.invert(target, method="adam", recipe="igr")
    config = AdamConfig(loss="points", normals=0.0, steps=2, points=50)
    assert space.invert(points, method="adam", adam=config, assess=False).residual > 0


def test_recipe_of_a_space(space: ShapeSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A space is inverted with the numbers that belong to it, unless others are chosen."""
    used: list[AdamConfig] = []

    def fit(model: LatentSDF, _: Observation, config: AdamConfig, *rest: Any) -> tuple[torch.Tensor, np.ndarray]:
        assert len(rest) == 2
        used.append(config)
        return torch.zeros(model.config.code_size), np.zeros(1, np.float32)

    monkeypatch.setattr("latentsdf.latent.inversion.invert.fit_by_adam", fit)
    seen = _ball()
    own = AdamConfig(steps=3)
    for options in ({}, {"recipe": "deepsdf"}, {"recipe": "igr"}, {"adam": own}):
        space.invert(seen, method="adam", assess=False, **options)
    assert used == [ADAM_RECIPES[name] for name in ("compact_sdf", "deepsdf", "igr")] + [own]


@pytest.mark.slow
def test_recovery_of_a_code(space: ShapeSpace) -> None:
    """From a random start, Adam finds a field that a code of the space has exactly."""
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 3)).astype(np.float32)
    with torch.no_grad():
        distance = space.field("table_0001", frame="model")(torch.from_numpy(points)).numpy()
    seen = Observation(points, distance, distance, IDENTITY)
    config = replace(ADAM_RECIPES["deepsdf"], steps=200, points=1000)
    fit = space.invert(seen, method="adam", adam=config, assess=False)
    assert len(fit.history) == 200 and fit.history[-1] < 0.4 * fit.history[0]


def test_settings_of_other_methods() -> None:
    """Settings that belong to another method, or exclude each other, are refused."""
    for changes, message in (
        ({"recipe": "igr"}, "recipe belongs to method adam; also set method to adam"),
        ({"adam": AdamConfig()}, "adam belongs to method adam"),
        ({"method": "adam", "align": True}, "published inversions estimate no placement"),
        ({"method": "adam", "adam": AdamConfig(), "recipe": "igr"}, "recipe and adam were both given"),
        ({"method": "lbfgs"}, "method: expected one of 'gauss_newton' or 'adam'"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            ls.InvertConfig(**changes)  # type: ignore[arg-type]
