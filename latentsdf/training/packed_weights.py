"""Small files for the weights of a space.

Two reductions, each on its own:

- **Rows never trained.** The feature grid is initialized to zero, and the optimizer changes only rows that a batch read
  (`training.row_adam`). Rows that are all zero are left out. This loses nothing.
- **Rounding.** Weights and codes are rounded to float16. The grid, by far the largest part, may be rounded to integers
  instead: with b bits and the root mean square r_c of channel c over the stored rows, a value v becomes

      q = round(v / step_c) in [-127, 127],    step_c = r_c 2^(3 - b)

  and the integers, most of which are small, are compressed (Deflate).

In `model.safetensors`, the grid `grid.table` (V, C) is replaced by the following tensors; all others keep their names.

| tensor | content |
|---|---|
| `grid.table.rows` | uint8 (ceil(V / 8),): bit v % 8 (from the lowest) of byte v // 8 is 1 if row v is stored |
| `grid.table.values` | the stored rows (U, C), float16 or float32, in ascending order; or |
| `grid.table.levels` | uint8: Deflate stream of the U integers q of channel 0, then of channel 1, ..., as int8 |
| `grid.table.steps` | step_c, float32 (C,) |

Reading is exact: every value that was stored is converted to float32, rows that were left out are zero.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from latentsdf.utils.errors import ConfigError

GRID = "grid.table"
_ROWS, _VALUES, _LEVELS, _STEPS = (f"{GRID}.{part}" for part in ("rows", "values", "levels", "steps"))
_MAX_LEVEL = 127
_LARGEST_HALF = 65_504.0


@dataclass(frozen=True)
class Packing:
    """How the weights of a space are stored.

    Attributes:
        half: Round weights and codes to float16.
        grid_bits: Bits b by which the step of the integers of the grid is chosen, 2 to 8; 0 for grid values like the
            other weights.

    Raises:
        ConfigError: `grid_bits` is out of range.
    """

    half: bool = False
    grid_bits: int = 0

    def __post_init__(self) -> None:
        if self.grid_bits != 0 and not 2 <= self.grid_bits <= 8:
            raise ConfigError(f"grid_bits must be 0 or from 2 to 8, got {self.grid_bits}")

    def round(self, values: Tensor) -> Tensor:
        """Convert weights or codes to the type in which they are stored.

        Raises:
            ConfigError: Values are too large for float16.
        """
        if not self.half or values.dtype not in (torch.float32, torch.float64):
            return values
        if not (values.abs() <= _LARGEST_HALF).all():
            raise ConfigError("weights beyond 65,504 do not fit into float16; leave out --half")
        return values.half()


def pack(weights: Mapping[str, Tensor], packing: Packing) -> dict[str, Tensor]:
    """Convert the state dictionary of a model to the tensors of a file.

    Args:
        weights: Tensors by name.
        packing: How they are stored.

    Returns:
        Tensors on the CPU, without the rows of the grid that are zero.

    Raises:
        ConfigError: As for `Packing.round`.
    """
    packed = {name: packing.round(value.detach().cpu()) for name, value in weights.items()}
    table = weights.get(GRID)
    if table is None or table.ndim != 2:
        return packed
    del packed[GRID]
    table = table.detach().cpu().float()
    if packing.grid_bits == 0:
        rounded = packing.round(table)
        stored = (rounded != 0).any(1)
        packed[_VALUES] = rounded[stored]
    else:
        levels, steps, stored = _quantize(table, packing.grid_bits)
        packed[_LEVELS], packed[_STEPS] = _deflate(levels), steps
    packed[_ROWS] = torch.from_numpy(np.packbits(stored.numpy(), bitorder="little"))
    return packed


def unpacked_shapes(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights that a file describes.

    Args:
        found: Shapes of the tensors in the file.
        expected: Shapes of the weights of the model.

    Returns:
        Shapes by name. A packed grid has its expected shape if the file fits to it. The file then has a bit for each of
        its rows, so that a small file cannot describe a table of any size.
    """
    shapes, table = dict(found), expected.get(GRID, ())
    if _ROWS not in found or len(table) != 2:
        return shapes
    count, channels = table
    values = [name for name in (_VALUES, _LEVELS, _STEPS) if name in found]
    fits = found[_ROWS] == ((count + 7) // 8,) and (
        (values == [_VALUES] and len(found[_VALUES]) == 2 and found[_VALUES][1] == channels)
        or (values == [_LEVELS, _STEPS] and len(found[_LEVELS]) == 1 and found[_STEPS] == (channels,))
    )
    if not fits:
        return shapes
    for name in (_ROWS, *values):
        del shapes[name]
    return shapes | {GRID: (count, channels)}


def unpack(weights: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Convert the tensors of a file to the state dictionary of a model.

    Args:
        weights: Tensors by name, whose `unpacked_shapes` are `expected`.
        expected: Shapes of the weights of the model.

    Raises:
        ValueError: The tensors do not belong together.
    """
    unpacked = dict(weights)
    if _ROWS in weights:
        unpacked[GRID] = _unpack_grid(unpacked, expected[GRID])
    return unpacked


def _unpack_grid(weights: dict[str, Tensor], shape: tuple[int, ...]) -> Float[Tensor, "V C"]:
    """Remove the tensors of a packed grid and return the grid."""
    mask = weights.pop(_ROWS)
    if mask.dtype != torch.uint8:
        raise ValueError(f"{_ROWS} must have bytes")
    bits = np.unpackbits(mask.numpy(force=True), bitorder="little")
    if bits[shape[0] :].any():
        raise ValueError(f"{_ROWS} has rows beyond the grid")
    stored = torch.from_numpy(bits[: shape[0]].astype(bool)).to(mask.device)
    count = int(stored.sum())
    if _VALUES in weights:
        values = weights.pop(_VALUES).float()
    else:
        levels = _inflate(weights.pop(_LEVELS), count * shape[1]).view(shape[1], count).to(mask.device)
        values = (levels * weights.pop(_STEPS).float()[:, None]).T
    if len(values) != count:
        raise ValueError(f"the grid has {len(values):,} rows, but {_ROWS} names {count:,}")
    table = torch.zeros(shape, device=mask.device)
    table[stored] = values
    return table


def _quantize(
    table: Float[Tensor, "V C"], bits: int
) -> tuple[Int[Tensor, "C U"], Float[Tensor, " C"], Bool[Tensor, " V"]]:
    """Round a grid to integers; returns them, their steps, and which rows are not zero."""
    trained = table[(table != 0).any(1)]
    spread = trained.square().mean(0).sqrt() if len(trained) else table.new_zeros(table.shape[1])
    # The step grows for a channel with outliers, which 8 bits could not hold.
    largest = table.abs().amax(0) / _MAX_LEVEL
    steps = torch.maximum(spread * 2.0 ** (3 - bits), largest).clamp(min=torch.finfo(torch.float32).tiny)
    levels = (table / steps).round_().to(torch.int8)
    stored = (levels != 0).any(1)
    return levels[stored].T.contiguous(), steps, stored


def _deflate(levels: Int[Tensor, "C U"]) -> UInt8[Tensor, " B"]:
    # Neighboring values differ in sign and size, so that matches gain nothing over Huffman codes.
    stream = zlib.compressobj(9, strategy=zlib.Z_HUFFMAN_ONLY)
    return torch.frombuffer(bytearray(stream.compress(levels.numpy().tobytes()) + stream.flush()), dtype=torch.uint8)


def _inflate(stream: Tensor, size: int) -> Int[Tensor, " N"]:
    """Decompress `size` integers; never more, whatever the stream holds."""
    if stream.dtype != torch.uint8:
        raise ValueError(f"{_LEVELS} must have bytes")
    decoder = zlib.decompressobj()
    try:
        data = decoder.decompress(stream.numpy(force=True).tobytes(), size + 1)
    except zlib.error as error:
        raise ValueError(f"{_LEVELS} is damaged ({error})") from error
    if len(data) != size or not decoder.eof:
        raise ValueError(f"{_LEVELS} has another number of values than {size:,}")
    return torch.frombuffer(bytearray(data), dtype=torch.int8) if size else torch.empty(0, dtype=torch.int8)
