"""Argument types: valid values, and error messages for all others."""

from pathlib import Path

import pytest

from latentsdf.cli.arg_types import (
    Constructor,
    cells_per_axis,
    finite_float,
    frame_name,
    integer,
    path_list,
    positive_float,
    positive_list,
    string_list,
)


@pytest.mark.parametrize(
    ("constructor", "texts", "value"),
    [
        (integer(), ["-3"], -3),
        (integer(0), ["0"], 0),
        (finite_float(), ["-1e3"], -1000.0),
        (finite_float(0, 1), ["0.5"], 0.5),
        (positive_float(), ["1e-9"], 1e-9),
        (positive_list(), ["0.1", "2"], (0.1, 2.0)),
        (cells_per_axis(), ["512"], 512),
        (frame_name(), ["user"], "shape"),
        (string_list("ID"), ["a", "b"], ("a", "b")),
        (path_list("FIT"), ["a/b"], (Path("a/b"),)),
    ],
)
def test_values(constructor: Constructor, texts: list[str], value: object) -> None:
    """Valid texts are converted to values."""
    assert constructor.instance_from_str(texts) == value


@pytest.mark.parametrize(
    ("constructor", "word", "message"),
    [
        (integer(), "1.5", "expected an integer, got '1.5'"),
        (integer(2), "1", "expected an integer >= 2, got '1'"),
        (finite_float(), "nan", "expected a finite number, got 'nan'"),
        (finite_float(-1, 1), "3", "expected a finite number from -1 to 1, got '3'"),
        (positive_float(), "0", "expected a finite number above 0, got '0'"),
        (positive_float(), "word", "expected a finite number above 0, got 'word'"),
        (frame_name(), "world", "expected shape or model, got 'world'"),
        (cells_per_axis(), "7", "16 to 1024 cells per axis, got 7"),
    ],
)
def test_values_out_of_range(constructor: Constructor, word: str, message: str) -> None:
    """The error for an invalid word states the valid range and the word."""
    with pytest.raises(ValueError, match=message):
        constructor.instance_from_str([word])


def test_no_values() -> None:
    """A flag for several values needs at least one."""
    with pytest.raises(ValueError, match="expected at least one value"):
        string_list("ID").instance_from_str([])


def test_defaults_in_help() -> None:
    """The help shows defaults in command-line notation."""
    assert finite_float().str_from_instance(5e-3) == ["0.005"] and integer(0).str_from_instance(100_000) == ["100000"]
    assert string_list("ID").str_from_instance(("a", "b")) == ["a", "b"]
