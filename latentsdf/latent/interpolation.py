"""Paths between codes, and how smoothly the surface moves along them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.metrics.surface import cd_l1_half, sample_surface
from latentsdf.latent.geodesic import shorten
from latentsdf.latent.prior import CodePrior
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import ConfigError

Method = Literal["linear", "spherical", "shortest"]

_POINTS = 5_000
_STRAIGHT = 1e-4
_OPPOSITE = 1e-3  # from half a turn; nearer, the digits of float32 codes would choose the arc


@dataclass(frozen=True)
class Smoothness:
    """How a surface moves along a path: `travel` (N - 1,) from each step to the next, as CD-L1-half of 5,000 points a
    side, `pieces` (N,) connected parts of each step."""

    travel: NDArray[np.float64]
    pieces: list[int]

    @property
    def variation(self) -> float:
        """Standard deviation of the travel over its mean; 0 for constant speed."""
        return float(self.travel.std() / self.travel.mean()) if self.travel.any() else 0.0

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "travel": self.travel.tolist(),
            "mean": float(self.travel.mean()),
            "variation": self.variation,
            "pieces": self.pieces,
        }


def interpolate(
    codes: Float[NDArray[np.float32], "K L"],
    steps: int,
    method: Method = "linear",
    model: LatentSDF | None = None,
    prior: CodePrior | None = None,
) -> Float[NDArray[np.float32], "N L"]:
    """A path of `steps` codes through the given ones, ends included.

    With more than two codes the path is piecewise and passes through each of them at (nearly) equal spacing.
    `spherical` turns the direction at constant speed and interpolates the norm, for codes near a sphere; neighbours in
    opposite directions are a ConfigError. `shortest` changes the decoded distances least and at constant speed
    (`geodesic`); it needs the model and its prior.
    """
    codes = np.asarray(codes, dtype=np.float32)
    if len(codes) < 2 or steps < 2:
        raise ConfigError(f"a path needs at least 2 codes and 2 steps, got {len(codes)} codes and {steps} steps")
    if method not in get_args(Method):
        raise ConfigError(f"method must be one of {', '.join(get_args(Method))}, got '{method}'")
    position = np.linspace(0, len(codes) - 1, steps)
    start = np.minimum(position.astype(int), len(codes) - 2)
    fraction = (position - start)[:, None].astype(np.float32)
    first, second = codes[start], codes[start + 1]
    if method == "linear":
        return first + fraction * (second - first)
    if method == "spherical":
        return _spherical(first, second, fraction)
    if model is None or prior is None:
        raise ConfigError("the shortest path is measured by a decoder: pass model and prior")
    return _shortest(codes, steps, model, prior)


def smoothness(meshes: Sequence[trimesh.Trimesh]) -> Smoothness:
    """Surface travel between consecutive meshes, all in one frame."""
    clouds = [sample_surface(mesh, _POINTS, 0).points for mesh in meshes]
    trees = [cKDTree(cloud) for cloud in clouds]
    travel = [
        cd_l1_half(trees[i].query(clouds[i + 1])[0], trees[i + 1].query(clouds[i])[0]) for i in range(len(meshes) - 1)
    ]
    return Smoothness(np.array(travel), [len(mesh.split(only_watertight=False)) for mesh in meshes])


def _shortest(codes: NDArray[np.float32], steps: int, model: LatentSDF, prior: CodePrior) -> NDArray[np.float32]:
    """Leg by leg; each leg takes its share of the steps."""
    cuts = np.linspace(0, steps - 1, len(codes)).round().astype(int)
    if (np.diff(cuts) < 1).any():
        raise ConfigError(f"the shortest path through {len(codes)} codes needs as many steps, got {steps}")
    path = np.empty((steps, codes.shape[1]), dtype=np.float32)
    for leg in range(len(codes) - 1):
        straight = interpolate(codes[leg : leg + 2], cuts[leg + 1] - cuts[leg] + 1)
        found = shorten(model, prior, torch.from_numpy(straight).to(prior.mean.device))
        path[cuts[leg] : cuts[leg + 1] + 1] = found.cpu().numpy()
    return path


def _spherical(first: NDArray[np.float32], second: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
    norm_a = np.linalg.norm(first.astype(np.float64), axis=1, keepdims=True)
    norm_b = np.linalg.norm(second.astype(np.float64), axis=1, keepdims=True)
    a, b = first / norm_a.clip(1e-12), second / norm_b.clip(1e-12)
    angle = np.arccos((a * b).sum(1, keepdims=True).clip(-1, 1))
    if (angle > np.pi - _OPPOSITE).any():
        raise ConfigError("two neighbouring codes have opposite directions: many arcs join them; use linear")
    # Parallel codes have no arc between them; the straight line is its limit.
    straight = angle < _STRAIGHT
    sine = np.where(straight, 1, np.sin(angle))
    weight_a = np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine)
    weight_b = np.where(straight, t, np.sin(t * angle) / sine)
    return ((weight_a * a + weight_b * b) * ((1 - t) * norm_a + t * norm_b)).astype(np.float32)
