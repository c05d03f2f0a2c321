"""Errors at the vertices of a reconstruction, and colors that show them."""

import numpy as np
import trimesh
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from latentsdf.geometry.metrics.surface import triangle_distance

COLORED_DISTANCE = 0.02
"""Distance in model space from which on a vertex has the last color; farther surface counts as missing in metrics."""

_STOPS = np.array([[106, 137, 167], [244, 214, 110], [222, 110, 48], [150, 20, 40]], dtype=np.float64)
"""Colors from no error to `COLORED_DISTANCE`, evenly spaced: blue gray, yellow, orange, dark red."""


def vertex_errors(mesh: trimesh.Trimesh, reference: trimesh.Trimesh) -> Float[NDArray[np.float64], " N"]:
    """Return the distance (N,) of each vertex of a mesh to the nearest triangle of a reference in the same frame."""
    return triangle_distance(np.ascontiguousarray(mesh.vertices, dtype=np.float64), reference)


def error_colors(
    errors: Float[NDArray[np.float64], " N"], limit: float = COLORED_DISTANCE
) -> UInt8[NDArray[np.uint8], "N 4"]:
    """Return opaque RGBA colors of errors.

    Args:
        errors: Distances (N,), 0 or larger.
        limit: Distance from which on the color is the last one; above 0.
    """
    position = np.clip(errors / limit, 0, 1) * (len(_STOPS) - 1)
    channels = [np.interp(position, np.arange(len(_STOPS)), channel) for channel in _STOPS.T]
    return np.column_stack([*channels, np.full(len(errors), 255.0)]).round().astype(np.uint8)


def color_scale() -> str:
    """Return the colors of errors as a CSS gradient, from no error on the left to the last color on the right."""
    return f"linear-gradient(to right, {', '.join(f'rgb({r:.0f},{g:.0f},{b:.0f})' for r, g, b in _STOPS)})"


def with_error_colors(
    mesh: trimesh.Trimesh,
    errors: Float[NDArray[np.float64], " N"],
    limit: float = COLORED_DISTANCE,
) -> trimesh.Trimesh:
    """Return a copy of a mesh with vertex normals and with its errors (N,) as vertex colors.

    Args:
        mesh: The mesh.
        errors: Distance of each vertex.
        limit: Distance of the last color, see `error_colors`.
    """
    return trimesh.Trimesh(
        mesh.vertices,
        mesh.faces,
        vertex_normals=mesh.vertex_normals,
        vertex_colors=error_colors(errors, limit),
        process=False,
    )
