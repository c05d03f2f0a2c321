"""Vectors of three floats as tuples, for compiled loops: an array apiece would cost more than its arithmetic."""

from typing import Any

from latentsdf.utils.numba_cache import compiled

Vector = tuple[float, float, float]


@compiled(nogil=True, error_model="numpy")
def row(table: Any, i: int) -> Vector:
    """Row i of (N, 3)."""
    return table[i, 0], table[i, 1], table[i, 2]


@compiled(nogil=True, error_model="numpy")
def minus(a: Vector, b: Vector) -> Vector:
    """a - b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@compiled(nogil=True, error_model="numpy")
def times(a: Vector, factor: float) -> Vector:
    """factor * a."""
    return a[0] * factor, a[1] * factor, a[2] * factor


@compiled(nogil=True, error_model="numpy")
def dot(a: Vector, b: Vector) -> float:
    """a . b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled(nogil=True, error_model="numpy")
def cross(a: Vector, b: Vector) -> Vector:
    """a x b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
