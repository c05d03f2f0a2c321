"""Arithmetic of 3-vectors stored as tuples, for compiled loops.

Tuples stay in registers; allocating an array per vector would cost more than its arithmetic.
"""

from typing import Any

from latentsdf.utils.numba_cache import compiled

Vector3 = tuple[float, float, float]


@compiled(nogil=True, error_model="numpy")
def row(table: Any, i: int) -> Vector3:
    """Row i of an array (N, 3)."""
    return table[i, 0], table[i, 1], table[i, 2]


@compiled(nogil=True, error_model="numpy")
def subtract(a: Vector3, b: Vector3) -> Vector3:
    """Difference a - b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@compiled(nogil=True, error_model="numpy")
def scale(a: Vector3, factor: float) -> Vector3:
    """Product factor * a."""
    return a[0] * factor, a[1] * factor, a[2] * factor


@compiled(nogil=True, error_model="numpy")
def dot(a: Vector3, b: Vector3) -> float:
    """Dot product a . b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled(nogil=True, error_model="numpy")
def cross(a: Vector3, b: Vector3) -> Vector3:
    """Cross product a x b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
