"""Weights in small files: sparse grids, rounding, and files that do not fit together."""

import pytest
import torch
from torch import Tensor

from latentsdf.training.packed_weights import GRID, Packing, pack, unpack, unpacked_shapes
from latentsdf.utils.errors import ConfigError

ROWS = f"{GRID}.rows"


@pytest.fixture
def weights() -> dict[str, Tensor]:
    """A matrix, and a grid of 27 rows of which rows 0, 8, 9 and 26 were trained."""
    torch.manual_seed(0)
    table = torch.zeros(27, 4)
    table[[0, 8, 9, 26]] = torch.randn(4, 4)
    table[9, :3] = 0
    return {"a.weight": torch.randn(3, 5), GRID: table}


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    return {name: tuple(value.shape) for name, value in tensors.items()}


@pytest.mark.parametrize("half", [False, True])
def test_values_are_read_as_stored(weights: dict[str, Tensor], half: bool) -> None:
    """Only trained rows are stored; reading gives every weight, rounded to float16 if requested."""
    stored = pack(weights, Packing(half))
    assert stored[f"{GRID}.values"].shape == (4, 4) and stored[ROWS].tolist() == [0b1, 0b11, 0, 0b100]
    assert unpacked_shapes(shapes(stored), shapes(weights)) == shapes(weights)
    read = unpack(stored, shapes(weights))
    assert read.keys() == weights.keys()
    for name, value in weights.items():
        expected = value.half().float() if half else value
        assert torch.equal(read[name].float(), expected)


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_integers(weights: dict[str, Tensor], bits: int) -> None:
    """Integers are off by at most half a step; a channel with an outlier has larger steps instead of a wrong value."""
    table = torch.randn(27, 4) * torch.tensor([1.0, 10.0, 1e-3, 1.0])
    table[3] = 0
    table[5, 3] = 500.0
    stored = pack(weights | {GRID: table}, Packing(grid_bits=bits))
    assert torch.equal(stored["a.weight"], weights["a.weight"])
    assert unpacked_shapes(shapes(stored), shapes(weights)) == shapes(weights)
    read = unpack(stored, shapes(weights))[GRID]
    trained = table[torch.arange(27) != 3]
    steps = torch.maximum(trained.square().mean(0).sqrt() * 2.0 ** (3 - bits), table.abs().amax(0) / 127)
    torch.testing.assert_close(stored[f"{GRID}.steps"], steps)
    assert ((read - table).abs() <= 0.5001 * steps).all() and not read[3].any()


def test_untrained_grid(weights: dict[str, Tensor]) -> None:
    """A grid of zeros takes no values."""
    zero = weights | {GRID: torch.zeros(27, 4)}
    for packing in (Packing(), Packing(grid_bits=4)):
        assert torch.equal(unpack(pack(zero, packing), shapes(zero))[GRID], zero[GRID])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t | {f"{GRID}.values": t[f"{GRID}.values"][:3]}, "3 rows, but"),
        (lambda t: t | {ROWS: t[ROWS] | torch.tensor([0, 0, 0, 8], dtype=torch.uint8)}, "beyond the grid"),
        (lambda t: t | {ROWS: t[ROWS].float()}, "must have bytes"),
    ],
)
def test_inconsistent_rows(weights: dict[str, Tensor], damage, message: str) -> None:
    """Rows and values that do not belong together are refused."""
    with pytest.raises(ValueError, match=message):
        unpack(damage(pack(weights, Packing())), shapes(weights))


def test_inconsistent_integers(weights: dict[str, Tensor]) -> None:
    """A stream of another length than the rows need is refused, without decompressing all of it."""
    import zlib

    stored, needed = pack(weights, Packing(grid_bits=4)), shapes(weights)
    bomb = torch.frombuffer(bytearray(zlib.compress(bytes(10**7))), dtype=torch.uint8)
    short = torch.frombuffer(bytearray(zlib.compress(bytes(3))), dtype=torch.uint8)
    for levels in (bomb, short, torch.arange(20, dtype=torch.uint8), stored[f"{GRID}.levels"][:-3]):
        with pytest.raises(ValueError, match="levels"):
            unpack(stored | {f"{GRID}.levels": levels}, needed)


@pytest.mark.parametrize("name", ["rows", "values"])
def test_shapes_that_do_not_fit(weights: dict[str, Tensor], name: str) -> None:
    """A file whose rows or channels do not fit the model does not have the shapes of the model."""
    found = shapes(pack(weights, Packing()))
    found[f"{GRID}.{name}"] = (3,) if name == "rows" else (4, 5)
    assert unpacked_shapes(found, shapes(weights)) != shapes(weights)


def test_values_beyond_half() -> None:
    """Weights that float16 cannot hold are an error, and so are bits out of range."""
    with pytest.raises(ConfigError, match="65,504"):
        pack({"a": torch.tensor([1e5])}, Packing(half=True))
    with pytest.raises(ConfigError, match="2 to 8"):
        Packing(grid_bits=9)
    assert pack({"a": torch.tensor([6e4])}, Packing(half=True))["a"].isfinite().all()
