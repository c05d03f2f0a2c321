"""Argument types: valid values, and error messages for all others."""

from pathlib import Path

import pytest

from latentsdf.cli.arg_types import Rule, cells_per_axis, frame_name, number, paths, positive, positives, texts, whole


@pytest.mark.parametrize(
    ("rule", "words", "value"),
    [
        (whole(), ["-3"], -3),
        (whole(0), ["0"], 0),
        (number(), ["-1e3"], -1000.0),
        (number(0, 1), ["0.5"], 0.5),
        (positive(), ["1e-9"], 1e-9),
        (positives(), ["0.1", "2"], (0.1, 2.0)),
        (cells_per_axis(), ["512"], 512),
        (frame_name(), ["user"], "shape"),
        (texts("ID"), ["a", "b"], ("a", "b")),
        (paths("FIT"), ["a/b"], (Path("a/b"),)),
    ],
)
def test_values(rule: Rule, words: list[str], value: object) -> None:
    """Valid words are converted to values."""
    assert rule.instance_from_str(words) == value


@pytest.mark.parametrize(
    ("rule", "word", "message"),
    [
        (whole(), "1.5", "expected an integer, got '1.5'"),
        (whole(2), "1", "expected an integer >= 2, got '1'"),
        (number(), "nan", "expected a finite number, got 'nan'"),
        (number(-1, 1), "3", "expected a finite number from -1 to 1, got '3'"),
        (positive(), "0", "expected a finite number above 0, got '0'"),
        (positive(), "word", "expected a finite number above 0, got 'word'"),
        (frame_name(), "world", "expected shape or model, got 'world'"),
        (cells_per_axis(), "7", "16 to 1024 cells per axis, got 7"),
    ],
)
def test_values_out_of_range(rule: Rule, word: str, message: str) -> None:
    """The error for an invalid word states the valid range and the word."""
    with pytest.raises(ValueError, match=message):
        rule.instance_from_str([word])


def test_no_values() -> None:
    """A flag for several values needs at least one."""
    with pytest.raises(ValueError, match="expected at least one value"):
        texts("ID").instance_from_str([])


def test_defaults_in_help() -> None:
    """The help shows defaults in command-line notation."""
    assert number().str_from_instance(5e-3) == ["0.005"] and whole(0).str_from_instance(100_000) == ["100000"]
    assert texts("ID").str_from_instance(("a", "b")) == ["a", "b"]
