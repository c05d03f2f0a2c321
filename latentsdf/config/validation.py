"""Frozen configuration dataclasses whose types and ranges are checked whenever one is built.

This includes instances built from YAML, by the command line and by `dataclasses.replace`. pydantic checks the values;
its errors are raised as `ConfigError`. Annotate fields with the types below, or with `Annotated[int, Field(strict=True,
ge=2)]`: plain `int`, `float` and `bool` would accept strings. Check rules that involve several settings in
`__post_init__`, which raises `ConfigError` with the full dotted names of the settings.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

import pydantic
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from latentsdf.utils.errors import ConfigError

T = TypeVar("T")

MAX_WIDTH = 8_192
"""Units of a hidden layer. This and the following limits bound the model that an untrusted configuration may
describe; one within them may still exceed the memory, which is checked before it is allocated."""
MAX_LAYERS = 128
"""Hidden layers of a network."""
MAX_CODE_DIM = 65_536
"""Values of the global part of a code."""
MAX_CELLS = 2_048
"""Cells per axis of a grid."""
MAX_LOCAL_CELLS = 64
"""Cells per axis of the lattice of a local code."""
MAX_CHANNELS = 1_024
"""Features per vertex of a grid."""
MAX_FREQUENCIES = 24
"""Octaves of a positional encoding; float32 resolves no more."""
MAX_GRIDS = 16
"""Grids of a feature pyramid."""

PositiveInt = Annotated[int, Field(strict=True, ge=1)]
NonNegativeInt = Annotated[int, Field(strict=True, ge=0)]
Width = Annotated[int, Field(strict=True, ge=0, le=MAX_WIDTH)]
Layers = Annotated[int, Field(strict=True, ge=0, le=MAX_LAYERS)]
Cells = Annotated[int, Field(strict=True, ge=1, le=MAX_CELLS)]
Channels = Annotated[int, Field(strict=True, ge=1, le=MAX_CHANNELS)]
Count = Annotated[int, Field(strict=True, ge=1, le=100_000_000)]
"""Number of points or samples that are held in memory at once."""
NonNegativeCount = Annotated[int, Field(strict=True, ge=0, le=100_000_000)]
Pixels = Annotated[int, Field(strict=True, ge=1, le=8192)]
"""Side of an image."""
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
PositiveFloat = Annotated[float, Field(strict=True, gt=0)]
NonNegativeFloat = Annotated[float, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Flag = Annotated[bool, Field(strict=True)]


def _as_tuple(value: Any) -> Any:
    """Convert a list (from YAML) to a tuple, and a number to a tuple of one."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value,) if type(value) in (int, float) else value


def _require_rising_times(schedule: tuple[float, ...]) -> tuple[float, ...]:
    times = [0.0, *schedule[1:-1:2], 1.0]
    if len(schedule) > 1 and (len(schedule) % 2 or any(b < a for a, b in pairwise(times))):
        raise ValueError("a schedule is (value, time, value, ..., end) with non-decreasing times in [0, 1]")
    return schedule


Schedule = Annotated[
    tuple[NonNegativeFloat, ...], Field(min_length=1), BeforeValidator(_as_tuple), AfterValidator(_require_rising_times)
]
"""(v0, t1, v1, ..., end): the value v0 at progress 0, v_i at progress t_i, `end` at progress 1, linear in between.

(v,) or the bare number v is constant; (20, 0.8, 20, 0.1) stays at 20 until 80 % of the run and then falls to 0.1.
See `config.schedules`.
"""

PositiveSchedule = Annotated[
    tuple[PositiveFloat, ...], Field(min_length=1), BeforeValidator(_as_tuple), AfterValidator(_require_rising_times)
]
"""A `Schedule` with values above 0."""

Schedules = dict[str, Schedule]
"""Schedules by name."""

Resolutions = Annotated[tuple[Cells, ...], Field(max_length=MAX_GRIDS), BeforeValidator(_as_tuple)]
"""Cells per axis of each of several grids."""


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def config_dataclass(cls: type[T]) -> type[T]:
    """Make a frozen dataclass that refuses unknown keys, wrong types and values out of range with `ConfigError`.

    A nested configuration may be given as a dictionary; settings that it omits have the defaults of its class.

    Raises:
        ConfigError: When the class is instantiated with an unknown key, a wrong type or a value out of range.
    """
    checked = pydantic.dataclasses.dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))(cls)
    build = checked.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            build(self, *args, **kwargs)
        except ValidationError as error:
            # Keep only the first error of each setting; pydantic also reports consequential errors.
            messages = {_name(one): describe_error(one) for one in reversed(error.errors())}
            known = [field.name for field in dataclasses.fields(checked)]
            for one in error.errors():
                if one["type"] == "unexpected_keyword_argument" and len(one["loc"]) == 1:
                    messages[_name(one)] += did_you_mean(_name(one), known)
            raise ConfigError("; ".join(reversed(messages.values()))) from None

    checked.__init__ = __init__  # type: ignore[method-assign]
    return cast(type[T], checked)


_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "tuple_type": "a list of numbers, such as '[1.0, 0.5]'",
    "too_short": "at least one number",
    "too_long": "fewer numbers",
    "dataclass_type": "keys and values",
    "dict_type": "names and weights, such as '{mine: 0.1}'",
}


def _name(error: ErrorDetails) -> str:
    """Return the dotted name of a setting; for an entry of a list, the name of the list."""
    return ".".join(part for part in error["loc"] if isinstance(part, str))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a clause for an error message that suggests the most similar known name; empty if none is similar."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; did you mean '{close[0]}'?" if close else ""


def describe_error(error: ErrorDetails) -> str:
    """Format a pydantic error in one line: the dotted name, the expected value and the actual one."""
    name, value, context = _name(error), error["input"], error.get("ctx", {})
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    match error["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key '{name}'"
        case "greater_than_equal":
            return f"{name} must be at least {context['ge']:g}, got {value}"
        case "greater_than":
            return f"{name} must be above {context['gt']:g}, got {value}"
        case "less_than_equal":
            return f"{name} must be at most {context['le']:g}, got {value}"
        case "less_than":
            return f"{name} must be below {context['lt']:g}, got {value}"
        case "finite_number":
            return f"{name} must be a finite number, got {value}"
        case "literal_error":
            return f"{name}: expected one of {context['expected']}, got {value!r}"
        case "value_error" if isinstance(context["error"], ConfigError):
            return str(context["error"])
        case "value_error":
            return f"{name}: {context['error']}, got {value!r}"
    return f"{name}: expected {_EXPECTED.get(error['type'], error['msg'])}, got {value!r}"
