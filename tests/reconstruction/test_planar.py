"""Accuracy of 2D reconstructions against exact distances."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.points import write_disk_truth

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.reconstruction.planar import load_truth, measure_planar
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.utils.errors import MeshError


class _Disk(torch.nn.Module):
    """|x| - 0.9."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(0.9))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=1) - self.radius


def test_larger_disk(tmp_path: Path) -> None:
    """Errors of a disk of radius 0.6 against one of radius 0.5 equal their closed forms."""
    truth = load_truth(write_disk_truth(tmp_path / "disk.npz"))
    # In the user's frame the radius is 0.9 / 1.5 = 0.6.
    result = Reconstruction(_Disk(), Similarity((0.3, 0.0), 1.5), ReconstructConfig(extent=3.0))
    accuracy = measure_planar(result, truth)
    assert accuracy.field.mae == pytest.approx(0.1, abs=1e-4)
    assert accuracy.field.iou == pytest.approx((0.5 / 0.6) ** 2, abs=0.01)
    assert accuracy.curve.cd_l1_half == pytest.approx(0.1, abs=1e-3)
    assert accuracy.curve.hausdorff == pytest.approx(0.1, abs=2e-3)
    assert accuracy.floor.cd_l1_half < 1e-3
    assert accuracy.as_dict()["curve"]["floor_hausdorff"] == accuracy.floor.hausdorff


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sdf_grid": None}, "must be an .npz with"),
        ({"sdf_grid": np.zeros((3, 128))}, "expected grid_axis"),
        ({"sdf_grid": np.ones((128, 128))}, "an inside and an outside"),
        ({"grid_axis": np.linspace(1, -1, 128)}, "must be increasing"),
        ({"surface_points": np.full((4, 2), np.nan)}, "finite"),
    ],
)
def test_invalid_truth(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    """Missing arrays, wrong shapes and impossible values are refused by name."""
    with np.load(write_disk_truth(tmp_path / "disk.npz")) as file:
        arrays = dict(file) | changed
    np.savez(tmp_path / "changed.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(MeshError, match=message):
        load_truth(tmp_path / "changed.npz")
