"""Arrays of other libraries, and descriptions of what is no array."""

from typing import Any

import numpy as np
import pytest
import torch

from latentsdf.utils.arrays import as_array, as_points, describe
from latentsdf.utils.errors import ConfigError, MeshError


class _Unreadable:
    """Object that can be neither described nor converted."""

    @property
    def shape(self) -> tuple[int, ...]:
        raise RuntimeError("not now")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (3, "int 3"),
        ("chair", "str 'chair'"),
        ("x" * 99, f"str '{'x' * 59}"),
        (np.zeros((3, 2), np.float32), "float32 array of shape (3, 2)"),
        (torch.zeros(3, 2), "Tensor of shape (3, 2)"),
        ([1, 2, 3, 4], "list of length 4"),
        (object(), "object"),
        (_Unreadable(), "_Unreadable"),
    ],
)
def test_descriptions(value: object, text: str) -> None:
    """A description has the type and the shape, length or beginning."""
    assert describe(value) == text


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], [3, 4]],
        np.array([[1, 2], [3, 4]], np.int8),
        torch.tensor([[1.0, 2], [3, 4]], requires_grad=True),
        torch.tensor([[1, 2], [3, 4]], dtype=torch.bfloat16),
        [torch.tensor([1.0, 2], requires_grad=True), torch.tensor([3.0, 4])],
        ((1, 2.0), (3, np.float32(4))),
    ],
    ids=["list", "int8", "gradients", "bfloat16", "tensors", "tuples"],
)
def test_conversions(values: Any) -> None:
    """Every form of a matrix becomes the same array of real numbers."""
    np.testing.assert_array_equal(as_array(values), [[1, 2], [3, 4]])


def test_masked_values() -> None:
    """Masked values are missing, not what the memory holds."""
    masked = np.ma.array([1, 2], mask=[False, True])
    np.testing.assert_array_equal(as_array(masked), [1, np.nan])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1, 2], [3]], "codes: expected an array of real numbers, got list of length 2: rows that differ in length"),
        (["a"], "got list of length 1 with values of type <U1"),
        (None, "got None"),
        (np.array([1j]), r"got complex128 array of shape \(1,\)$"),
        ([True], "with values of type bool"),
        (_Unreadable(), r"got _Unreadable: it cannot be converted to numpy \(not now\)"),
    ],
)
def test_values_that_are_no_array(values: Any, message: str) -> None:
    """The message names the argument and what came, with the given class of error."""
    with pytest.raises(MeshError, match=message):
        as_array(values, "codes", error=MeshError)


def test_points() -> None:
    """Points become float64; another number of columns or axes is refused."""
    points = as_points([[1, 2, 3]])
    assert points.dtype == np.float64 and points.tolist() == [[1, 2, 3]]
    assert as_points(np.zeros((0, 2)), 2).shape == (0, 2)
    for wrong in (np.zeros((4, 2)), np.zeros(3), np.zeros((1, 4, 3))):
        with pytest.raises(ConfigError, match=r"points must have shape \(N, 3\), got float64 array"):
            as_points(wrong)
