"""Weighted loss terms of a batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.points import circle_points
from helpers.settings import short_preset, with_train

import latentsdf as ls
from latentsdf.config.reconstruction import FieldLossConfig
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.objective import weighted_terms
from latentsdf.reconstruction.presets import preset
from latentsdf.reconstruction.sampling import CloudBatch, CloudSampler
from latentsdf.utils.errors import ConfigError


class _Circle(torch.nn.Module):
    """s (|x| - r)."""

    def __init__(self, radius: float, slope: float) -> None:
        super().__init__()
        self.radius, self.slope = radius, slope

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.slope * (points.norm(dim=1) - self.radius)


def test_terms_of_circle() -> None:
    """Terms of s (|x| - r) at the points of a circle of radius 1 / 1.03 equal their closed forms."""
    loss = FieldLossConfig(
        surface=(3.0,), eikonal=(0.5,), normals=(1.0,), sign_agnostic_normals=(1.0,), directional_divergence=(1.0,)
    )
    config = replace(short_preset("siren"), loss=loss)
    points = circle_points(5000, 0.5)
    sampler = CloudSampler(prepare_point_cloud(points, points), config, torch.device("cpu"))
    terms = weighted_terms(_Circle(0.5, 2.0), sampler.draw(), sampler, config, 0.0)
    assert {name: term.weight for name, term in terms.items()} == {
        "surface": 3.0,
        "eikonal": 0.5,
        "sign_agnostic_normals": 1.0,
        "normals": 1.0,
        "directional_divergence": 1.0,
    }
    values = {name: term.value.item() for name, term in terms.items()}
    assert values["surface"] == pytest.approx(2 * (1 / 1.03 - 0.5), rel=1e-4)
    assert values["eikonal"] == pytest.approx(1.0, rel=1e-4)
    assert values["normals"] == pytest.approx(1.0, rel=1e-4)
    assert values["sign_agnostic_normals"] == pytest.approx(1.0, rel=0.02)
    assert values["directional_divergence"] == pytest.approx(0.0, abs=1e-4)


class _Saddle(torch.nn.Module):
    """0.5 x_1 x_2."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return 0.5 * points[:, 0] * points[:, 1]


class _Steep(torch.nn.Module):
    """A field with |grad u| = 3 within 0.9 of the origin and 2 beyond."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        radius = points.norm(dim=1)
        return torch.where(radius < 0.9, 3 * radius, 2 * radius)


@pytest.mark.parametrize(("points", "expected"), [("all", 1.5), ("offsurface", 2.0)])
def test_points_of_eikonal_term(points: str, expected: float) -> None:
    """The eikonal term is the mean over all points, or only over those off the cloud (IGR)."""
    config = replace(short_preset("siren"), loss=FieldLossConfig(eikonal=(1.0,), eikonal_points=points))  # type: ignore[arg-type]
    sampler = CloudSampler(prepare_point_cloud(circle_points(500, 0.5)), config, torch.device("cpu"))
    batch = sampler.draw()
    # As many points near the origin as on the cloud, whose radius is 0.97.
    batch = replace(batch, offsurface=0.1 * torch.rand(len(batch.surface), 2) + 0.1)
    assert weighted_terms(_Steep(), batch, sampler, config, 0.0)["eikonal"].value.item() == pytest.approx(expected)


def test_second_order_terms_at_local_points() -> None:
    """Second-order terms are at the local points only, and all other terms at the others."""
    config = short_preset("nsh")
    sampler = CloudSampler(prepare_point_cloud(circle_points(500, 0.5)), config, torch.device("cpu"))
    batch = sampler.draw()
    half = len(batch.offsurface) // 2
    assert (batch.offsurface[half:].norm(dim=1) - 1 / 1.03).abs().max() < 1
    # u = 0.5 x_1 x_2 at local points, with det H = -0.25; u = 0 at the others.
    moved = batch.offsurface.clone()
    moved[:half] = 0
    terms = weighted_terms(_Saddle(), replace(batch, offsurface=moved), sampler, config, 0.0)
    assert terms["singular_hessian"].value.item() == pytest.approx(0.25)
    assert terms["off_surface"].value.item() == pytest.approx(1.0)
    # |grad u| = |x| / 2 on the cloud, whose radius is 1 / 1.03.
    assert terms["eikonal"].value.item() == pytest.approx(1 - 0.5 / 1.03, rel=1e-3)
    with pytest.raises(ConfigError, match="local needs train.offsurface_sampling: local, got uniform"):
        with_train(config, offsurface_sampling="uniform")


def test_squared_eikonal_norm() -> None:
    """`eikonal_norm` l2 squares the deviation of the gradient norm from 1."""
    config = short_preset("siren")
    sampler = CloudSampler(prepare_point_cloud(circle_points(500, 0.5)), config, torch.device("cpu"))
    batch = sampler.draw()
    for norm, expected in (("l1", 2.0), ("l2", 4.0)):
        loss = FieldLossConfig(eikonal=(1.0,), eikonal_norm=norm)  # type: ignore[arg-type]
        terms = weighted_terms(_Circle(0.5, 3.0), batch, sampler, replace(config, loss=loss), 0.0)
        assert terms["eikonal"].value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_sign_agnostic_training() -> None:
    """The sign-agnostic terms are recorded and decrease."""
    loss = FieldLossConfig(sign_agnostic=(1.0,), sign_agnostic_normals=(0.1,))
    config = replace(short_preset("igr", steps=200), loss=loss)
    first, last = ls.reconstruct(circle_points(1000, 0.5), config=config).history
    assert last["sign_agnostic"] < first["sign_agnostic"] and "sign_agnostic_normals" in last


@pytest.mark.slow
def test_normals_term() -> None:
    """The normals term is active only if the cloud has normals."""
    points = circle_points(500, 0.5)
    config = short_preset("igr", steps=100)
    without, with_normals = (ls.reconstruct(points, normals, config=config) for normals in (None, points))
    assert "normals" not in without.history[0]
    assert with_normals.history[0]["normals"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("short_windows")
@pytest.mark.parametrize("method", ["hotspot", "steik", "digs"])
def test_guide_schedule(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide is active in the first part of the run; later its points are not even drawn."""
    drawn = []
    draw = CloudSampler.draw

    def counted(sampler: CloudSampler, guided: bool = True) -> CloudBatch:
        batch = draw(sampler, guided)
        drawn.append(len(batch.guide))
        return batch

    monkeypatch.setattr(CloudSampler, "draw", counted)
    history = ls.reconstruct(circle_points(1000, 0.5), config=short_preset(method, steps=50)).history
    guided_windows = 1 if method == "hotspot" else 3
    assert [("guide" in means) for means in history] == guided_windows * [True] + (5 - guided_windows) * [False]
    assert drawn[0] == 256 and drawn[-1] == 0
    assert preset(method, 2, paper=True).loss.guide == preset(method, 3).loss.guide == (0.0,)
    assert np.isfinite([entry["surface"] for entry in history]).all()
