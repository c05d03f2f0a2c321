"""Fixtures of the tests of sharing."""

import json
from collections.abc import Callable

import pytest
import torch
from helpers.settings import SMALL_MODEL, small_config

import latentsdf as ls
from latentsdf.geometry.similarity import Similarity
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training import checkpoint


@pytest.fixture
def messages(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Function that returns the text printed on standard error since its last call, joined into one line."""
    return lambda: " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="package")
def space(tmp_path_factory: pytest.TempPathFactory) -> ls.ShapeSpace:
    """Space of four tables with random weights, shifted so that shapes have surfaces; part of its grid is zero."""
    torch.manual_seed(0)
    model, codes = LatentSDF(SMALL_MODEL), 0.1 * torch.randn(4, SMALL_MODEL.code_size)
    grid = model.require_grid().table.data
    grid[: len(grid) // 3] = torch.randn(len(grid) // 3, grid.shape[1])
    points = torch.rand(1, 4000, 3) * 1.6 - 0.8
    with torch.no_grad():
        model.general.last.bias -= model.branch("general", points, codes[:1]).median()
        assert model.overfit is not None
        model.overfit.last.weight *= 0.01  # the surface remains in the band
        model.overfit.last.bias.zero_()
    folder = tmp_path_factory.mktemp("shared") / "tables"
    keys, places = [f"table/table_{n}" for n in range(4)], [Similarity((n, 0.0, 0.0), 1.0 + n) for n in range(4)]
    checkpoint.save(folder, model, codes, keys, places, "sphere", small_config(), None, steps=20)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 20, "seconds": 60.0}))
    return ls.load(folder, "cpu")
