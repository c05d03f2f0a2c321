"""Accuracy of 3D reconstructions with known errors."""

import numpy as np
import pytest
import torch
import trimesh

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.similarity import Similarity
from latentsdf.reconstruction.accuracy import measure_accuracy
from latentsdf.reconstruction.result import Reconstruction


class _Sphere(torch.nn.Module):
    """s (|x| - 0.6)."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.slope * (points.norm(dim=1) - 0.6)


@pytest.mark.slow
@pytest.mark.parametrize("slope", [1.0, 2.0, -1.0])
def test_sphere_with_slope(slope: float) -> None:
    """Errors of the distance to a sphere, times a slope, equal their closed forms."""
    ball = trimesh.creation.icosphere(4, 1.2)
    ball.apply_translation((3.0, 0.0, 0.0))
    result = Reconstruction(_Sphere(slope), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig())
    accuracy = measure_accuracy(result, ball, ball, n=500)
    assert accuracy.normal_error == pytest.approx(0.0 if slope > 0 else 2.0, abs=1e-4)
    assert (accuracy.field.eikonal, accuracy.field.near_eikonal) == pytest.approx((abs(slope) - 1,) * 2, abs=1e-5)
    wrong = abs(slope - 1) * np.abs(np.linalg.norm(np.random.default_rng(0).uniform(-1, 1, (50_000, 3)), axis=1) - 0.6)
    assert accuracy.field.mae == pytest.approx(wrong.mean(), abs=2e-3)
    assert accuracy.as_dict()["normal_error"] == accuracy.normal_error and accuracy.surface.to_reference_mean < 1e-9
