"""Frames in which published methods fit a point cloud, as their code computes them.

With c the mean of the points x_n, R the largest |coordinate| of all x_n - c, and Q the 70 % quantile of their radii, a
frame moves its center to the origin and multiplies by its scale:

    mean            center c                    scale 1 / R                    SAL, DiGS, StEik
    mean_quantile   center c                    scale 1 / max(R, Q / 0.45)     HotSpot in 3D
    minmax          center c + (m + M) / 2      scale 2 / (M - m)              SIREN

where m and M are the smallest and the largest of all coordinates of all x_n - c.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.config.reconstruction import CloudNormalization
from latentsdf.geometry.similarity import Similarity

_QUANTILE, _QUANTILE_RADIUS = 0.7, 0.45


def published_frame(points: Float[NDArray[np.float64], "N d"], normalization: CloudNormalization) -> Similarity:
    """Compute the transform of a cloud to the frame of a method.

    Args:
        points: Points (N, d), not all equal.
        normalization: Name of the frame.

    Returns:
        Transform from the frame of the points; for `sphere`, in which clouds of model space are fitted, the identity.
    """
    center = points.mean(0)
    centered = points - center
    if normalization == "sphere":
        center, scale = np.zeros(points.shape[1]), 1.0
    elif normalization == "minmax":
        low, high = centered.min(), centered.max()
        center, scale = center + (low + high) / 2, 2 / (high - low)
    else:
        size = np.abs(centered).max()
        if normalization == "mean_quantile":
            radii = np.linalg.norm(centered, axis=1)
            size = max(size, np.quantile(radii, _QUANTILE) / _QUANTILE_RADIUS)
        scale = 1 / size
    return Similarity(tuple(center.tolist()), float(scale))
