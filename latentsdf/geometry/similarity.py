"""Similarity transforms between the user's frame and model space.

    x_model = R_y(yaw) (s (x_user - c)),    x_user = R_y(yaw)^T x_model / s + c

with the center c and the scale s > 0. R_y(yaw) rotates about the vertical axis y, from +z toward +x:

    R_y = [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]

Model space is the box [-1, 1]^3, or [-1, 1]^2 for planar points. Normalized shapes leave a margin of 3 % to the
boundary of the unit ball or the box, as in DeepSDF (Park et al. 2019).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentsdf.config.frames import Frame, require_frame
from latentsdf.config.sampling import Normalization
from latentsdf.utils.errors import MeshError
from latentsdf.utils.json_files import is_number

_RADIUS = 1 / 1.03
_MAX_CENTER = 1e12  # coordinates of meshes reach 1e9
_MIN_SCALE, _MAX_SCALE = 1e-12, 1e30  # of shapes whose extent keeps digits in single precision


@dataclass(frozen=True)
class Similarity:
    """Similarity transform from the user's frame to model space; as defined in the module docstring."""

    center: tuple[float, ...]
    """Point (d,) of the user's frame that becomes the origin of model space."""
    scale: float
    """Model units per user unit."""
    yaw: float = 0.0
    """Rotation about the y axis in radians, from +z toward +x; 3D only."""

    def to_model(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Transform points from the user's frame to model space.

        Args:
            points: Points (N, d) in the user's frame.

        Returns:
            Points (N, d) in model space.
        """
        scaled = (np.asarray(points, dtype=np.float64) - self.center) * self.scale
        return np.asarray(scaled @ self.rotation().T if self.yaw else scaled)

    def to_user(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Transform points from model space to the user's frame.

        Args:
            points: Points (N, d) in model space.

        Returns:
            Points (N, d) in the user's frame.
        """
        points = np.asarray(points, dtype=np.float64)
        return np.asarray((points @ self.rotation() if self.yaw else points) / self.scale + self.center)

    def rotation(self) -> NDArray[np.float64]:
        """Return the rotation matrix R_y(yaw), shape (3, 3)."""
        cosine, sine = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def parse_similarity(center: object, scale: object, yaw: object = 0.0, *, dims: Sequence[int] = (3,)) -> Similarity:
    """Return the transform that a file describes.

    Args:
        center: Point (d,) of the user's frame.
        scale: Model units per user unit, from 1e-12 to 1e30.
        yaw: Rotation in radians.
        dims: Dimensions d that are allowed.

    Raises:
        ValueError: A value has another type, is not finite or is out of its range.
    """
    parts = list(center) if isinstance(center, Sequence) and not isinstance(center, str) else []
    if len(parts) not in dims or not all(is_number(value) for value in parts):
        raise ValueError(f"expected a finite center of {' or '.join(map(str, dims))} numbers, got {center!r:.80}")
    if any(abs(value) > _MAX_CENTER for value in parts):
        raise ValueError(f"expected a center of at most {_MAX_CENTER:g}, got {center!r:.80}")
    if not is_number(scale) or not _MIN_SCALE <= float(scale) <= _MAX_SCALE:  # type: ignore[arg-type]
        raise ValueError(f"expected a scale from {_MIN_SCALE:g} to {_MAX_SCALE:g}, got {scale!r:.80}")
    if not is_number(yaw):
        raise ValueError(f"expected a finite yaw, got {yaw!r:.80}")
    return Similarity(tuple(float(value) for value in parts), float(scale), float(yaw))  # type: ignore[arg-type]


IDENTITY = Similarity((0.0, 0.0, 0.0), 1.0)
"""Transform of shapes that are already in model space."""


def in_frame(similarity: Similarity, frame: Frame) -> Similarity:
    """Return the transform between a frame and model space: that of the shape, or the identity for `model`.

    Args:
        similarity: Transform between the shape's own frame and model space, of points (N, d).
        frame: `shape` or `model` (`config.frames`).

    Raises:
        ConfigError: The frame is unknown.
    """
    require_frame(frame)
    return similarity if frame == "shape" else Similarity((0.0,) * len(similarity.center), 1.0)


def combine_similarities(similarities: Sequence[Similarity], weights: Sequence[float]) -> Similarity:
    """Return the affine combination of similarity transforms.

    With weights w_i that sum to 1,

        log s = sum_i w_i log s_i,    c = sum_i w_i c_i,    yaw = yaw_0 + sum_i w_i (yaw_i - yaw_0)

    where each difference of angles is the shorter way round, in [-pi, pi). For two transforms this interpolates the
    rotation at constant angular speed (slerp; both rotate about the same axis), the scale at a constant ratio, and the
    center along a line.

    Args:
        similarities: Transforms of points of the same dimension.
        weights: A weight for each of them.
    """
    first = similarities[0]
    share = np.array(weights, dtype=np.float64)
    turns = np.array([(one.yaw - first.yaw + math.pi) % (2 * math.pi) - math.pi for one in similarities])
    center = share @ np.array([one.center for one in similarities])
    scale = math.exp(share @ np.log([one.scale for one in similarities]))
    return Similarity(tuple(center.tolist()), scale, first.yaw + float(share @ turns))


def compute_normalization(points: NDArray[np.float64], mode: Normalization = "sphere") -> Similarity:
    """Compute the similarity transform that brings points into model space.

    Args:
        points: Points (N, d) in the user's frame.
        mode: `sphere` moves the center of the bounding box to the origin and scales the farthest point to radius
            1/1.03 (DeepSDF); `cube` scales the largest half extent to 1/1.03 instead; `none` keeps the points.

    Returns:
        Transform with yaw 0.

    Raises:
        MeshError: All points coincide, or the mode is `none` and a coordinate is outside [-1, 1].
    """
    if mode == "none":
        if np.abs(points).max() > 1:
            raise MeshError(
                f"coordinates reach {np.abs(points).max():.4g}, outside [-1, 1]; use normalization 'sphere' or 'cube'"
            )
        return IDENTITY
    low, high = points.min(0), points.max(0)
    center = (low + high) / 2
    size = np.linalg.norm(points - center, axis=1).max() if mode == "sphere" else (high - low).max() / 2
    if size == 0:
        raise MeshError(f"all {len(points)} points coincide, so they have no shape")
    return Similarity(tuple(float(x) for x in center), float(_RADIUS / size))
