"""Tests of the band encoding: lossless indices, bounded distance error, chunk sizes."""

import numpy as np
import pytest

from latentsdf.data.band_codec import decode, encode, even_rows


@pytest.mark.parametrize("resolution", [32, 61, 512, 1024])
def test_round_trip(resolution: int) -> None:
    """Decoding restores every vertex, and distances up to half a quantization step."""
    rng = np.random.default_rng(resolution)
    last = (resolution + 1) ** 3 - 1
    index = np.unique(np.append(rng.integers(0, last, 5000), [0, last])).astype(np.uint32)
    distance = (index % 1001 / 500 - 1).astype(np.float32) * np.float32(0.02)
    coded = encode(index, distance, resolution, 0.02, rng)
    back, value = decode(coded, resolution, 0.02)
    order = np.argsort(back)
    assert np.array_equal(back[order], index)
    assert np.abs(value[order] - distance).max() <= 0.02 / 65_534 * 1.01


def test_even_chunk_rows() -> None:
    """The rows per chunk give the fewest chunks, of nearly equal size."""
    for count in (0, 1, 99, 100, 101, 1000, 1001):
        rows = even_rows(count, 100)
        chunks = max(1, -(-count // rows))
        assert 1 <= rows <= 100 and chunks == max(1, -(-count // 100))
        assert count == 0 or count - (chunks - 1) * rows > rows - chunks


def test_compression_of_spatial_order() -> None:
    """For a plane of vertices, block order has smaller differences between neighbors than the lattice order."""
    side = 65
    index = np.flatnonzero(np.indices((side,) * 3).sum(0) == 96).astype(np.uint32)
    coded = encode(index, np.zeros(len(index), np.float32), side - 1, 0.1, np.random.default_rng(0))
    assert np.median(coded.delta) < np.median(np.diff(index))
