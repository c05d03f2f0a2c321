"""Validation of configuration dataclasses on construction."""

from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Literal

import pytest
from pydantic import Field

from latentsdf.config.validation import (
    Flag,
    NonNegativeFloat,
    PositiveInt,
    PositiveSchedule,
    Resolutions,
    Schedule,
    Share,
    config_dataclass,
)
from latentsdf.utils.errors import ConfigError


@config_dataclass
class Part:
    """A section."""

    count: PositiveInt = 3
    weight: Schedule = (0.0,)
    growth: PositiveSchedule = (1.0,)
    sizes: Resolutions = (8,)


@config_dataclass
class Whole:
    """A configuration with a section."""

    part: Part = Part()
    share: Share = 0.5
    length: NonNegativeFloat = 1.0
    on: Flag = False
    kind: Literal["a", "b"] = "a"
    even: Annotated[int, Field(strict=True, ge=2)] = 2

    def __post_init__(self) -> None:
        """Refuse odd numbers."""
        if self.even % 2:
            raise ConfigError(f"even must be even, got {self.even}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"part": {"count": 0}}, "^part.count must be at least 1, got 0$"),
        ({"part": {"count": True}}, "^part.count: expected an integer, got True$"),
        ({"part": {"count": "3"}}, "^part.count: expected an integer, got '3'$"),
        ({"part": {"weight": (1.0, 0.5, -2.0, 3.0)}}, r"^part.weight must be at least 0, got -2.0$"),
        (
            {"part": {"weight": (1.0, 0.5, 2.0)}},
            r"^part.weight: a schedule is \(value, time, .* got \(1.0, 0.5, 2.0\)$",
        ),
        ({"part": {"weight": ()}}, r"^part.weight: expected at least one number, got \(\)$"),
        ({"part": {"growth": 0}}, "^part.growth must be above 0, got 0$"),
        ({"part": {"sizes": (8, 0)}}, "^part.sizes must be at least 1, got 0$"),
        ({"part": {"cuont": 2}}, "^unknown key 'part.cuont'$"),
        ({"lenght": 2}, "^unknown key 'lenght'; did you mean 'length'\\?$"),
        ({"zzzz": 2}, "^unknown key 'zzzz'$"),
        ({"share": 1.1, "length": -1}, "^share must be at most 1, got 1.1; length must be at least 0, got -1$"),
        ({"length": float("nan")}, "^length must be a finite number, got nan$"),
        ({"on": "yes"}, "^on: expected true or false, got 'yes'$"),
        ({"kind": "c"}, "^kind: expected one of 'a' or 'b', got 'c'$"),
        ({"even": 3}, "^even must be even, got 3$"),
        ({"part": 3}, "^part: expected keys and values, got 3$"),
    ],
)
def test_invalid_values(values: dict[str, object], message: str) -> None:
    """A ConfigError has one message for each setting, with its dotted name and the given value."""
    with pytest.raises(ConfigError, match=message):
        Whole(**values)  # type: ignore[arg-type]


def test_validation_by_replace() -> None:
    """`dataclasses.replace` checks the new values, and instances are frozen and compare by value."""
    whole = Whole(part={"count": 5})  # type: ignore[arg-type]
    assert whole == replace(Whole(), part=Part(count=5)) and hash(whole) == hash(Whole(part=Part(5)))
    with pytest.raises(ConfigError, match="even must be even"):
        replace(whole, even=5)
    with pytest.raises(FrozenInstanceError):
        whole.share = 0.1  # type: ignore[misc]


def test_conversion_of_numbers_and_lists_to_tuples() -> None:
    """A number is a list of one where several are accepted, and integers become floats in schedules."""
    part = Part(weight=2, sizes=[8, 16])  # type: ignore[arg-type]
    assert part.weight == (2.0,) and type(part.weight[0]) is float and part.sizes == (8, 16)
