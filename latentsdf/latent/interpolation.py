"""Interpolation paths between codes, and the smoothness of the surfaces along them.

For neighboring codes a, b and t in [0, 1]:

    linear      z = a + t (b - a)
    spherical   z = slerp(a / |a|, b / |b|, t) ((1 - t) |a| + t |b|)      (Shoemake 1985)
    shortest    the path that minimizes the change of the decoded distances (`geodesic`)
    prior       the path through training codes that are near each other (`neighbor_path`)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from latentsdf.geometry.metrics.surface import cd_l1_half, sample_surface
from latentsdf.latent.geodesic import shorten_path
from latentsdf.latent.neighbor_path import neighbor_path
from latentsdf.latent.prior import CodePrior
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.utils.errors import ConfigError

Method = Literal["linear", "spherical", "shortest", "prior"]

_POINTS = 5_000
_PARALLEL = 1e-4  # radians
_ON_CODE = 1e-9  # rounding errors of positions along the path
_OPPOSITE = 1e-3  # radians from pi; if closer, float32 rounding of the codes would determine the arc


@dataclass(frozen=True)
class Smoothness:
    """Motion of the surface along a path of N meshes."""

    displacement: Float[NDArray[np.float64], " steps"]
    """Distances (N - 1,) between consecutive surfaces: (mean a + mean b) / 2 with nearest distances a, b between 5,000
    samples of each (CD-L1-half)."""
    pieces: list[int]
    """Number of connected components of each mesh."""

    @property
    def variation(self) -> float:
        """Coefficient of variation of the displacement; 0 for constant speed."""
        return float(self.displacement.std() / self.displacement.mean()) if self.displacement.any() else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return all values as JSON types."""
        return {
            "travel": self.displacement.tolist(),  # name of version 0.1
            "mean": float(self.displacement.mean()),
            "variation": self.variation,
            "pieces": self.pieces,
        }


def interpolate(
    codes: Float[NDArray[np.float32], "K L"],
    steps: int,
    method: Method = "linear",
    model: LatentSDF | None = None,
    prior: CodePrior | None = None,
    training: Float[NDArray[np.float32], "T L"] | None = None,
) -> Float[NDArray[np.float32], "N L"]:
    """Interpolate codes along a path through given codes, including both ends.

    With more than two codes the path is piecewise, with equal spacing between neighboring codes. It contains the inner
    codes when steps - 1 is a multiple of K - 1; `shortest` and `prior` always contain them, at rounded steps.

    Args:
        codes: Codes (K, L) in the order of the path, K >= 2.
        steps: Number of codes N >= 2 of the path.
        method: `linear`; `spherical`, for codes near a sphere; `shortest`; or `prior`.
        model: Decoder, for `shortest`.
        prior: Gaussian of the training codes, for `shortest` and `prior`.
        training: Training codes (T, L), for `prior`.

    Returns:
        Codes (N, L).

    Raises:
        ConfigError: There are too few codes or fewer steps than codes, the method is unknown, `spherical` joins codes
            of opposite directions, or `shortest` or `prior` lack what they depend on.
    """
    codes = np.asarray(codes, dtype=np.float32)
    if len(codes) < 2 or steps < 2:
        raise ConfigError(f"a path needs at least 2 codes and 2 steps, got {len(codes)} codes and {steps} steps")
    if method not in get_args(Method):
        raise ConfigError(f"method must be one of {', '.join(get_args(Method))}, got '{method}'")
    start, share = positions_on_path(len(codes), steps, "linear")
    fraction = share[:, None].astype(np.float32)
    first, second = codes[start], codes[start + 1]
    if method == "linear":
        return first + fraction * (second - first)
    if method == "spherical":
        return _spherical(first, second, fraction)
    if method == "prior":
        if prior is None or training is None:
            raise ConfigError("this path depends on the training codes: pass prior and training")
        dim = len(prior.basis)
        return _by_legs(codes, steps, lambda leg, count: neighbor_path(leg[0], leg[1], training, count, dim))
    if model is None or prior is None:
        raise ConfigError("the shortest path depends on the decoder: pass model and prior")
    return _shortest(codes, steps, model, prior)


def positions_on_path(
    count: int, steps: int, method: Method
) -> tuple[Int[NDArray[np.int64], " N"], Float[NDArray[np.float64], " N"]]:
    """Return where the steps of a path lie: step n is between the given codes i_n and i_n + 1.

    Args:
        count: Number of given codes K >= 2.
        steps: Number of steps N >= 2.
        method: As for `interpolate`.

    Returns:
        The numbers i_n (N,), 0 to K - 2, and the shares (N,) of the way from code i_n to the next, 0 to 1; exactly 0 or
        1 where the path contains a given code.

    Raises:
        ConfigError: There are fewer steps than codes, so that a code would be left out.
    """
    if steps < count:
        raise ConfigError(f"a path through {count} codes needs at least as many steps, got {steps}")
    if method in ("shortest", "prior"):
        position = np.interp(np.arange(steps), _cuts(count, steps), np.arange(count))
    else:
        position = np.linspace(0, count - 1, steps)
    nearest = position.round()
    position = np.where(np.abs(position - nearest) < _ON_CODE, nearest, position)
    start = np.minimum(position.astype(np.int64), count - 2)
    return start, position - start


def smoothness(meshes: Sequence[trimesh.Trimesh]) -> Smoothness:
    """Measure the motion between consecutive meshes.

    Args:
        meshes: N meshes along a path, in the same frame.
    """
    clouds = [sample_surface(mesh, _POINTS, 0).points for mesh in meshes]
    trees = [cKDTree(cloud) for cloud in clouds]
    displacement = [
        cd_l1_half(trees[i].query(clouds[i + 1])[0], trees[i + 1].query(clouds[i])[0]) for i in range(len(meshes) - 1)
    ]
    return Smoothness(np.array(displacement), [len(mesh.split(only_watertight=False)) for mesh in meshes])


def _shortest(codes: NDArray[np.float32], steps: int, model: LatentSDF, prior: CodePrior) -> NDArray[np.float32]:
    """Shortest path, computed between each pair of neighboring codes."""
    if model.config.local_size > 0:
        raise ConfigError("the shortest path is not available for codes with a local part; use linear")

    def connect(leg: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        straight = interpolate(leg, count)
        if (straight == straight[0]).all():  # the prior would move the inner codes
            return straight
        return shorten_path(model, prior, torch.from_numpy(straight).to(prior.mean.device)).cpu().numpy()

    return _by_legs(codes, steps, connect)


def _by_legs(
    codes: NDArray[np.float32], steps: int, connect: Callable[[NDArray[np.float32], int], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Join neighboring codes by paths of a number of codes; the given codes are kept at rounded steps."""
    cuts = _cuts(len(codes), steps)
    path = np.empty((steps, codes.shape[1]), dtype=np.float32)
    for leg in range(len(codes) - 1):
        path[cuts[leg] : cuts[leg + 1] + 1] = connect(codes[leg : leg + 2], cuts[leg + 1] - cuts[leg] + 1)
    return path


def _cuts(count: int, steps: int) -> list[int]:
    """Steps at which a path that is computed by legs passes through its given codes, at most as many as steps."""
    return list(np.linspace(0, steps - 1, count).round().astype(int).tolist())


def _spherical(first: NDArray[np.float32], second: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
    norm_a = np.linalg.norm(first.astype(np.float64), axis=1, keepdims=True)
    norm_b = np.linalg.norm(second.astype(np.float64), axis=1, keepdims=True)
    a, b = first / norm_a.clip(1e-12), second / norm_b.clip(1e-12)
    angle = np.arccos((a * b).sum(1, keepdims=True).clip(-1, 1))
    if (angle > np.pi - _OPPOSITE).any():
        raise ConfigError("two neighboring codes have opposite directions, so their arc is not unique; use linear")
    # For parallel codes the limit of the arc is the straight line.
    straight = angle < _PARALLEL
    sine = np.where(straight, 1, np.sin(angle))
    weight_a = np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine)
    weight_b = np.where(straight, t, np.sin(t * angle) / sine)
    return ((weight_a * a + weight_b * b) * ((1 - t) * norm_a + t * norm_b)).astype(np.float32)
