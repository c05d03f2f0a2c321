"""Types of command-line arguments, which refuse values out of range before any work begins.

Each function returns a rule for `typing.Annotated`: `Annotated[int, whole(1)]`.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

T = TypeVar("T")
Rule = PrimitiveConstructorSpec[Any]

UNSET = tyro.conf.arg(help_behavior_hint="")
"""Marks an argument whose help does not show a default."""
OptionalPath = Annotated[Path | None, UNSET]


def whole(least: int | None = None) -> Rule:
    """Whole numbers, of at least `least` if given."""
    return _rule("INT", lambda text: _whole(text, least))


def number(low: float = -math.inf, high: float = math.inf) -> Rule:
    """Finite numbers from `low` to `high`."""
    bounds = [f"of at least {low:g}"] if low > -math.inf else []
    bounds += [f"of at most {high:g}"] if high < math.inf else []
    return _rule("FLOAT", lambda text: _finite(text, lambda value: low <= value <= high, " and ".join(bounds)))


def positive() -> Rule:
    """Finite numbers above 0."""
    return _rule("FLOAT", _positive)


def positives() -> Rule:
    """One or more finite numbers above 0."""
    return _several("FLOAT", _positive)


def cells_per_axis() -> Rule:
    """Cells per axis that `extract` supports."""
    return _rule("INT", _resolution)


def texts(metavar: str) -> Rule:
    """One or more texts, such as ids."""
    return _several(metavar, str)


def paths(metavar: str) -> Rule:
    """One or more paths."""
    return _several(metavar, Path)


def _rule(metavar: str, read: Callable[[str], Any]) -> Rule:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: read(words[0]),
        is_instance=lambda _: True,
        str_from_instance=lambda value: [f"{value:g}" if isinstance(value, float) else str(value)],
    )


def _several(metavar: str, read: Callable[[str], Any]) -> Rule:
    def read_all(words: Sequence[str]) -> tuple[Any, ...]:
        if not words:
            raise ValueError("expected at least one value")
        return tuple(read(word) for word in words)

    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"{metavar} [{metavar} ...]",
        instance_from_str=read_all,
        is_instance=lambda _: True,
        str_from_instance=lambda values: [str(value) for value in values or ()],
    )


def _whole(text: str, least: int | None) -> int:
    try:
        value = int(text)
        valid = least is None or value >= least
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"expected a whole number{'' if least is None else f' of at least {least}'}, got '{text}'")
    return value


def _resolution(text: str) -> int:
    from latentsdf.extraction.extract import require_resolution

    value = _whole(text, 1)
    require_resolution(value)
    return value


def _positive(text: str) -> float:
    return _finite(text, lambda value: value > 0, "above 0")


def _finite(text: str, within: Callable[[float], bool], bounds: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and within(value)):
        raise ValueError(f"expected a {' '.join(('finite number', bounds)).strip()}, got '{text}'")
    return value
