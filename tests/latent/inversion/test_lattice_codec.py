"""Compressed lattices of distances: error bounds, signs, sizes and damage."""

import lzma
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from latentsdf.geometry.lattice import lattice_points
from latentsdf.latent.inversion.lattice_codec import EncodedLattice, decode, encode


def _sphere(resolution: int) -> NDArray[np.float32]:
    """Distances to a sphere around a point that is no vertex."""
    points = lattice_points(np.arange((resolution + 1) ** 3), resolution)
    distance: NDArray[np.float32] = np.linalg.norm(points - np.float32([0.03, -0.02, 0.01]), axis=1) - np.float32(0.6)
    return distance.reshape((resolution + 1,) * 3)


@pytest.mark.parametrize("resolution", [8, 12, 20, 64])
@pytest.mark.parametrize("steps_per_cell", [2, 9])
def test_error_of_sphere(resolution: int, steps_per_cell: int) -> None:
    """Within 2 cells of the surface, errors are at most one step, and no sign is wrong."""
    distance, cell = _sphere(resolution), 2 / resolution
    found = decode(encode(distance, cell / steps_per_cell))
    near = np.abs(distance) < 2 * cell
    assert near.any() and np.abs(found - distance)[near].max() <= cell / steps_per_cell * 1.0001
    assert np.array_equal(found[near] < 0, distance[near] < 0)


def test_noise() -> None:
    """Of values that are no distance field, all that a step can represent are exact to one step."""
    distance = np.random.default_rng(0).uniform(-0.1, 0.1, (9, 9, 9)).astype(np.float32)
    found = decode(encode(distance, 0.01))
    assert np.abs(found - distance).max() <= 0.01 * 1.0001
    assert np.array_equal(found < 0, distance < 0)


def test_size() -> None:
    """A coarser step gives a smaller code; a surface takes a fraction of a byte per vertex near it."""
    distance = _sphere(64)
    sizes = [len(encode(distance, 2 / 64 / steps).data) for steps in (16, 8, 2)]
    assert sizes[0] > sizes[1] > sizes[2] > 0
    assert sizes[0] < 0.5 * (np.abs(distance) < 2.5 * 2 / 64).sum()


def test_step_too_small() -> None:
    """A step for which integers do not fit into 16 bits is refused."""
    with pytest.raises(ValueError, match="a step of 1e-06 is too small for a lattice of 8 cells"):
        encode(_sphere(8), 1e-6)


def test_damage() -> None:
    """Cut streams, sizes out of range and steps out of range are noticed, without large allocations."""
    good = encode(_sphere(20), 0.01)
    bomb = lzma.compress(bytes(1 << 24), lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 22}])
    for changes, message in (
        ({"data": good.data[:-5]}, "the stream ends too early"),
        ({"data": b""}, "the stream ends too early"),
        ({"data": b"\xff" * 50}, "nput"),
        ({"resolution": 10**6}, "lattice of 1000000 cells"),
        ({"resolution": 21}, "lattice of 21 cells"),
        ({"step": 0.0}, "quantization step 0.0"),
        ({"step": float("nan")}, "quantization step nan"),
    ):
        with pytest.raises(ValueError, match=message):
            decode(replace(good, **changes))
    assert decode(EncodedLattice(8, 0.1, bomb)).shape == (9, 9, 9)  # only the first 1,458 bytes are read
