"""Orthographic camera on an orbit around a point, in NumPy only, so that preprocessing workers can import it.

y is up. For azimuth a and elevation e, the unit vector from the center toward the camera is

    back = (cos e sin a, sin e, cos e cos a),

so that azimuth 0 views the +z side and azimuth 90 the +x side. Angles are in degrees. The image shows the square
[-extent, extent]^2 around the center.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

DEFAULT_AZIMUTH = 35.0
"""Azimuth of images in degrees."""
DEFAULT_ELEVATION = 20.0
"""Elevation of images in degrees."""
_EYE_DISTANCE = 3.0  # distance of the ray origins from the center, in extents


@dataclass(frozen=True)
class Camera:
    """Orthographic camera with orthonormal axes, viewing along `forward`."""

    right: Float[NDArray[np.float64], "3"]
    """Unit vector toward the right of the image."""
    up: Float[NDArray[np.float64], "3"]
    """Unit vector toward the top of the image."""
    forward: Float[NDArray[np.float64], "3"]
    """Unit viewing direction."""
    center: Float[NDArray[np.float64], "3"]
    """Point shown in the middle of the image."""
    extent: float
    """Half of the image's side length, in units of the scene."""

    @staticmethod
    def orbit(azimuth: float, elevation: float, center: Float[NDArray[np.float64], "3"], extent: float) -> "Camera":
        """Create a camera on a sphere around `center`; azimuth and elevation in degrees."""
        a, e = np.radians(float(azimuth)), np.radians(float(elevation))  # NumPy refuses integers beyond 64 bits
        back = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
        right = np.array([np.cos(a), 0.0, -np.sin(a)])
        return Camera(right, np.cross(back, right), -back, center, extent)

    def rays(self, size: int) -> tuple[Float[NDArray[np.float64], "N 3"], Float[NDArray[np.float64], "N 3"]]:
        """Origins and unit directions of the rays through the centers of size x size pixels, in scanline order."""
        axis = (np.arange(size) + 0.5) / size * 2 - 1
        x, y = np.meshgrid(axis, -axis)
        offsets = x.reshape(-1, 1) * self.right + y.reshape(-1, 1) * self.up
        origins = self.center + self.extent * (offsets - _EYE_DISTANCE * self.forward)
        return origins, np.broadcast_to(self.forward, origins.shape)

    def project(
        self, points: Float[NDArray[np.float64], "N 3"], size: int
    ) -> tuple[Int[NDArray[np.int64], " N"], Int[NDArray[np.int64], " N"], Float[NDArray[np.float64], " N"]]:
        """Project points to an image of size x size pixels.

        Returns:
            Pixel columns (N,) from the left and rows (N,) from the top, which are outside 0 .. size - 1 for points
            outside the image, and depths (N,) along `forward` relative to the center, in extents.
        """
        local = (points - self.center) / self.extent
        column = np.floor((local @ self.right + 1) * size / 2).astype(np.int64)
        row = np.floor((1 - local @ self.up) * size / 2).astype(np.int64)
        return column, row, local @ self.forward
