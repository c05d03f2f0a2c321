"""Constrained types of command-line arguments. Values out of range are rejected during parsing.

Each function returns a tyro constructor for `typing.Annotated`, as in `Annotated[int, integer(1)]`.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

T = TypeVar("T")
Constructor = PrimitiveConstructorSpec[Any]

UNSET = tyro.conf.arg(help_behavior_hint="")
"""Marker for an argument whose help does not show a default."""
OptionalPath = Annotated[Path | None, UNSET]


def integer(least: int | None = None) -> Constructor:
    """Accept integers, not below `least` if it is given."""
    return _single_value("INT", lambda text: _parse_integer(text, least))


def finite_float(low: float = -math.inf, high: float = math.inf) -> Constructor:
    """Accept finite numbers from `low` to `high`, inclusive."""
    if low > -math.inf and high < math.inf:
        bounds = f"from {low:g} to {high:g}"
    else:
        bounds = f">= {low:g}" if low > -math.inf else f"<= {high:g}" if high < math.inf else ""
    return _single_value("FLOAT", lambda text: _parse_finite(text, lambda value: low <= value <= high, bounds))


def positive_float() -> Constructor:
    """Accept finite numbers above 0."""
    return _single_value("FLOAT", _parse_positive)


def positive_list() -> Constructor:
    """Accept one or more finite numbers above 0."""
    return _value_list("FLOAT", _parse_positive)


def cells_per_axis() -> Constructor:
    """Accept numbers of cells per axis that `extract` supports."""
    return _single_value("INT", _parse_resolution)


def frame_name() -> Constructor:
    """Accept `shape` or `model`, and `user`, the former name of `shape`."""
    return _single_value("{shape,model}", _parse_frame)


def column_order() -> Constructor:
    """Accept the meaning of columns, such as `x,y,z,nx,ny,nz,-`."""
    return _single_value("x,y,z,...", _parse_order)


def _parse_order(text: str) -> tuple[str, ...]:
    from latentsdf.geometry.pointcloud.point_table import parse_order

    return parse_order(text)


def string_list(metavar: str) -> Constructor:
    """Accept one or more strings, such as ids."""
    return _value_list(metavar, str)


def path_list(metavar: str) -> Constructor:
    """Accept one or more paths."""
    return _value_list(metavar, Path)


def _single_value(metavar: str, parse: Callable[[str], Any]) -> Constructor:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda values: parse(values[0]),
        is_instance=lambda _: True,
        str_from_instance=lambda value: [f"{value:g}" if isinstance(value, float) else str(value)],
    )


def _value_list(metavar: str, parse: Callable[[str], Any]) -> Constructor:
    def parse_all(values: Sequence[str]) -> tuple[Any, ...]:
        if not values:
            raise ValueError("expected at least one value")
        return tuple(parse(value) for value in values)

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{metavar} [{metavar} ...]",
        instance_from_str=parse_all,
        is_instance=lambda _: True,
        str_from_instance=lambda values: [str(value) for value in values or ()],
    )


def _parse_integer(text: str, least: int | None) -> int:
    try:
        value = int(text)
        valid = least is None or value >= least
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"expected an integer{'' if least is None else f' >= {least}'}, got '{text}'")
    return value


def _parse_resolution(text: str) -> int:
    from latentsdf.extraction.extract import require_resolution

    value = _parse_integer(text, 1)
    require_resolution(value)
    return value


def _parse_frame(text: str) -> str:
    if text not in ("shape", "model", "user"):
        raise ValueError(f"expected shape or model, got '{text}'")
    return "shape" if text == "user" else text


def _parse_positive(text: str) -> float:
    return _parse_finite(text, lambda value: value > 0, "above 0")


def _parse_finite(text: str, is_valid: Callable[[float], bool], bounds: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and is_valid(value)):
        raise ValueError(f"expected a {' '.join(('finite number', bounds)).strip()}, got '{text}'")
    return value
