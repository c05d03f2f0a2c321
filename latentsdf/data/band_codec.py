"""How the store codes a band: random strata of its samples, each sorted and delta-coded, distances as int16.

A stratum is a random share of the band: a fair sample of it, and yet, being sorted, it compresses. Sorting goes block
by block of 8^3 lattice vertices, because neighbours in space make smaller differences than neighbours along z: 2.9
instead of 3.2 bytes a sample on a 512^3 lattice.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

STRATUM_ROWS = 131_072
"""Most samples of a stratum; the strata of a band are of equal size, the last one a little shorter."""

_STEPS = 32_767
_BLOCK = 8


@dataclass(frozen=True)
class CodedBand:
    """Strata of `rows` samples one after another: `delta` (B,) of block order, `steps` (B,) of width / 32,767."""

    delta: NDArray[np.uint32]
    steps: NDArray[np.int16]
    rows: int


def encode(
    index: NDArray[np.uint32],
    distance: NDArray[np.float32],
    resolution: int,
    width: float,
    rng: np.random.Generator,
) -> CodedBand:
    """Code lattice vertices (B,) and their distances (B,), which lie within +-width (error at most width / 65,534)."""
    blocks = _to_blocks(index, resolution)
    rank = np.argsort(blocks)
    rows = even_rows(len(rank), STRATUM_ROWS)
    order = rng.permutation(len(rank))
    for start in range(0, len(order), rows):
        order[start : start + rows].sort()
    delta = blocks[rank][order]
    for start in range(0, len(delta), rows):
        stratum = delta[start : start + rows]
        stratum[1:] = np.diff(stratum)
    steps = np.rint(distance[rank][order] * (_STEPS / width)).clip(-_STEPS, _STEPS)
    return CodedBand(delta, steps.astype(np.int16), rows)


def decode(band: CodedBand, resolution: int, width: float) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Linear lattice index (B,) and distance (B,) of whole strata, in their stored order."""
    blocks = np.empty_like(band.delta)
    for start in range(0, len(blocks), band.rows):
        stratum = slice(start, start + band.rows)
        np.cumsum(band.delta[stratum], dtype=np.uint32, out=blocks[stratum])
    return _from_blocks(blocks, resolution), band.steps * np.float32(width / _STEPS)


def even_rows(count: int, most: int) -> int:
    """Rows of equal chunks of at most `most` rows, so that the last one is no stub."""
    return max(1, -(-count // max(1, -(-count // most))))


def _to_blocks(index: NDArray[np.uint32], resolution: int) -> NDArray[np.uint32]:
    """Linear lattice index -> number in the order block by block, x slowest among blocks and inside each."""
    side, per_axis = resolution + 1, resolution // _BLOCK + 1
    i, rest = np.divmod(index.astype(np.int64), side * side)
    j, k = np.divmod(rest, side)
    block = (i // _BLOCK * per_axis + j // _BLOCK) * per_axis + k // _BLOCK
    inside = (i % _BLOCK * _BLOCK + j % _BLOCK) * _BLOCK + k % _BLOCK
    return (block * _BLOCK**3 + inside).astype(np.uint32)


def _from_blocks(number: NDArray[np.uint32], resolution: int) -> NDArray[np.uint32]:
    """The inverse of `_to_blocks`: a vertex is its block's corner plus its place inside, two table look-ups."""
    corner, place = _block_tables(resolution)
    linear: NDArray[np.uint32] = corner[number // _BLOCK**3] + place[number % _BLOCK**3]
    return linear


@lru_cache(maxsize=2)
def _block_tables(resolution: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Linear index of each block's corner, and of each place inside the first block."""
    side, per_axis = resolution + 1, resolution // _BLOCK + 1
    strides = np.array([side * side, side, 1], dtype=np.uint32)
    corner = np.tensordot(strides * np.uint32(_BLOCK), np.indices((per_axis,) * 3, dtype=np.uint32), 1)
    place = np.tensordot(strides, np.indices((_BLOCK,) * 3, dtype=np.uint32), 1)
    return corner.ravel(), place.ravel()
