"""Codes with a local part, from training to every use of a space."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.settings import FAST, small_config

import latentsdf as ls
from latentsdf.config.model import LocalCodeConfig
from latentsdf.space import ShapeSpace

pytestmark = pytest.mark.slow

_SIZE = 8 + 27 * 4


@pytest.fixture(scope="module")
def local_space(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> ShapeSpace:
    """Space of four tables with codes of 8 values and a lattice of 27 vertices with 4 values each."""
    config = small_config(steps=300, shapes_per_batch=4)
    model = dataclasses.replace(config.model, local=LocalCodeConfig(resolution=2, channels=4))
    config = dataclasses.replace(config, model=model)
    return ls.train(store_path, config, out=tmp_path_factory.mktemp("local") / "space", device="cpu")


def test_training(local_space: ShapeSpace, store_path: Path, tmp_path: Path) -> None:
    """Local codes are trained, saved and resumed like global ones."""
    assert local_space.codes.shape == (4, _SIZE)
    assert local_space.codes[:, 8:].abs().max() > 1e-3
    config = dataclasses.replace(local_space.config, train=dataclasses.replace(local_space.config.train, steps=6))
    whole = ls.train(store_path, config, out=tmp_path / "whole", device="cpu")
    first = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=3, lr_final=1.0))
    longer = dataclasses.replace(first, train=dataclasses.replace(first.train, steps=6))
    ls.train(store_path, first, out=tmp_path / "parts", device="cpu")
    resumed = ls.train(store_path, longer, out=tmp_path / "parts", resume=True, device="cpu")
    uninterrupted = ls.train(store_path, longer, out=tmp_path / "longer", device="cpu")
    assert torch.equal(resumed.codes, uninterrupted.codes)
    assert whole.codes.shape == resumed.codes.shape


def test_inversion(local_space: ShapeSpace, tmp_path: Path) -> None:
    """A fit to a training shape is as accurate as its own code, moves the local part, and survives its folder."""
    mesh = local_space.extract("table_0001", resolution=64)
    fit = local_space.invert(mesh, FAST)
    assert fit.layers is None and fit.code.shape == (_SIZE,)
    assert fit.residual < 0.01
    assert np.abs(fit.code[8:] - local_space.codes[:, 8:].mean(0).numpy()).max() > 1e-3
    fit.save(tmp_path / "fit")
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3))
    again = local_space.distance(ls.load_fit(tmp_path / "fit"), points)
    np.testing.assert_array_equal(again, local_space.distance(fit, points))


def test_uses(local_space: ShapeSpace) -> None:
    """Paths, samples and directions decode; neighbors depend on the global part only; derivatives reach local codes."""
    path = local_space.interpolate("table_0000", "table_0001", steps=3)
    np.testing.assert_array_equal(np.asarray(path)[[0, -1]], local_space.codes[:2].numpy())
    assert np.asarray(local_space.sample(2)).shape == (2, _SIZE)
    assert np.asarray(local_space.direction(0)).shape == (5, _SIZE)
    with pytest.raises(ls.ConfigError, match="shortest path is not available for codes with a local part"):
        local_space.interpolate("table_0000", "table_0001", steps=3, method="shortest")
    changed = local_space.code("table_0002")
    changed[8:] += 5
    assert list(local_space.nearest(changed, 1).ids) == ["table_0002"]
    assert local_space.nearest("table_0002", 1, rerank=2).ids[0] == "table_0002"
    code = local_space.code("table_0000").requires_grad_()
    local_space.sdf(code, torch.rand(64, 3) - 0.5, "general").sum().backward()
    assert code.grad is not None and (code.grad[8:] != 0).any()


def test_partial_observation(local_space: ShapeSpace) -> None:
    """Half of a shape is fitted, and the local codes of the other half stay in the range of training shapes."""
    mesh = local_space.extract("table_0001", resolution=64)
    points, faces = mesh.sample(2000, return_index=True)
    seen = points[:, 0] > points[:, 0].mean()
    fit = local_space.invert(points[seen], mesh.face_normals[faces][seen], partial=True, steps=40, starts=4)
    assert fit.residual < 0.03
    assert np.abs(fit.code[8:]).max() < 3 * float(local_space.codes[:, 8:].abs().max())
