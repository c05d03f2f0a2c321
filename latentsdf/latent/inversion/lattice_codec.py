"""Lossy compression of signed distances on a lattice: accurate at the surface, coarse away from it.

Lattices with 8 to R cells per axis cover the box [-1, 1]^3, each with twice the cells of the one before. With the
quantization step q, values are integers in units of q / 64. The values of a level are predicted from those of the
level before, by averages along one axis after the other; on the first level, predictions are 0. Where the prediction
is within 2.5 cells of the surface, and on all of the first level, an integer k is stored, and the value is
prediction + 64 k. Elsewhere k is 0.

The encoder leaves k at 0 if the prediction is off by less than 0.7 q, which shortens the code. Wherever a k is stored,
the error is at most q and the sign is exact.

The integers of all levels, least significant bytes first, form one LZMA stream. Encoder and decoder compute in
integers only, so the values do not depend on the machine.
"""

import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

_UNITS = 64  # of a value per quantization step
_BAND = 2.5  # half width, in cells
_DEAD_ZONE = 0.7  # largest error of a prediction that is kept, in steps
_COARSEST = 8  # smallest number of cells per axis of the first level
_CLAMP = 4.0  # largest distance on the first level, in cells
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 22, "lc": 0, "lp": 0, "pb": 0}]
_LARGEST = np.iinfo(np.int16).max

MAX_RESOLUTION = 512
"""Cells per axis of the finest lattice that is read; its values take half a gigabyte."""


@dataclass(frozen=True)
class EncodedLattice:
    """Encoded distances on a lattice."""

    resolution: int
    """Cells per axis R of the finest level."""
    step: float
    """Quantization step q, in units of the box [-1, 1]^3."""
    data: bytes
    """LZMA stream of the integers k."""


def encode(distance: Float[NDArray[np.float32], "V V V"], step: float) -> EncodedLattice:
    """Encode distances.

    Args:
        distance: Signed distances at the (R + 1)^3 vertices of a lattice over the box; R is even.
        step: Quantization step q.

    Returns:
        The encoded lattice.

    Raises:
        ValueError: The step is so small that integers do not fit into 16 bits.
    """
    unit = step / _UNITS
    finest = len(distance) - 1
    value: Int[NDArray[np.int32], "V V V"] | None = None
    streams = []
    for resolution in _levels(finest):
        cell = 2 / resolution
        target = distance[(slice(None, None, finest // resolution),) * 3]
        if value is None:
            target = target.clip(-_CLAMP * cell, _CLAMP * cell)
        predicted, active = _predict(value, resolution, unit)
        wanted = target[active]
        base = predicted[active]
        error = (wanted / unit - base) / _UNITS
        k = np.where(np.abs(error) < _DEAD_ZONE, 0, np.rint(error)).astype(np.int32)
        wrong = (base + _UNITS * k < 0) != (wanted < 0)
        k[wrong] += np.where(wanted[wrong] < 0, -1, 1).astype(np.int32)
        if len(k) and np.abs(k).max() > _LARGEST:
            raise ValueError(f"a step of {step:.3g} is too small for a lattice of {finest} cells")
        predicted[active] += _UNITS * k
        value = predicted
        streams.append(k.astype("<i2"))
    raw = b"".join(part for k in streams for part in _planes(k))
    return EncodedLattice(finest, step, lzma.compress(raw, lzma.FORMAT_RAW, filters=_FILTERS))


def decode(lattice: EncodedLattice) -> Float[NDArray[np.float32], "V V V"]:
    """Decode the distances at the vertices of the finest level.

    Raises:
        ValueError: The lattice is damaged.
    """
    if not (_COARSEST <= lattice.resolution <= MAX_RESOLUTION and lattice.resolution % 2 == 0):
        raise ValueError(f"lattice of {lattice.resolution} cells")
    unit = lattice.step / _UNITS
    if not 1e-7 <= lattice.step <= 1:
        raise ValueError(f"quantization step {lattice.step}")
    stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    pending = lattice.data
    value: Int[NDArray[np.int32], "V V V"] | None = None
    for resolution in _levels(lattice.resolution):
        predicted, active = _predict(value, resolution, unit)
        count = int(active.sum())
        raw = b""
        while len(raw) < 2 * count:
            if stream.eof or (not pending and stream.needs_input):
                raise ValueError("the stream ends too early")
            try:
                raw += stream.decompress(pending, 2 * count - len(raw))
            except lzma.LZMAError as error:
                raise ValueError(str(error)) from error
            pending = b""
        low, high = np.frombuffer(raw, np.uint8).reshape(2, count)
        k = (low | high.astype(np.uint16) << 8).view(np.int16)
        predicted[active] += _UNITS * k.astype(np.int32)
        value = predicted
    assert value is not None
    return value.astype(np.float32) * np.float32(unit)


def _levels(resolution: int) -> Sequence[int]:
    """Return the cells per axis of all levels, coarse to fine."""
    levels = [resolution]
    while levels[-1] % 2 == 0 and levels[-1] >= 2 * _COARSEST:
        levels.append(levels[-1] // 2)
    return levels[::-1]


def _predict(
    coarser: Int[NDArray[np.int32], "U U U"] | None, resolution: int, unit: float
) -> tuple[Int[NDArray[np.int32], "V V V"], NDArray[np.bool_]]:
    """Return the predicted values of a level, and where integers are stored."""
    side = resolution + 1
    if coarser is None:
        return np.zeros((side,) * 3, np.int32), np.ones((side,) * 3, np.bool_)
    value = coarser
    for axis in range(3):
        shape = list(value.shape)
        shape[axis] = side
        finer = np.empty(shape, np.int32)
        before, behind, even, odd = (
            tuple(one if number == axis else slice(None) for number in range(3))
            for one in (slice(None, -1), slice(1, None), slice(None, None, 2), slice(1, None, 2))
        )
        finer[even] = value
        np.add(value[before], value[behind], out=finer[odd])
        finer[odd] >>= 1
        value = finer
    return value, np.abs(value) <= int(_BAND * 2 / resolution / unit)


def _planes(k: Int[NDArray[np.int16], " K"]) -> Iterator[bytes]:
    """Return the low and the high bytes of integers, which compress better apart."""
    parts = k.view(np.uint8).reshape(-1, 2)
    yield parts[:, 0].tobytes()
    yield parts[:, 1].tobytes()
