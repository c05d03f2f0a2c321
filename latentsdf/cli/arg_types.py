"""Numbers as words of a command line: types for argparse that refuse what is out of range before any work."""

import argparse
import math
from collections.abc import Callable

from latentsdf.utils.errors import ConfigError


def whole(least: int) -> Callable[[str], int]:
    """Whole numbers from `least` on."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got '{text}'")
        return value

    return read


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """Finite numbers from `low` to `high`."""
    bounds = [f"of at least {low:g}"] if low > -math.inf else []
    bounds += [f"of at most {high:g}"] if high < math.inf else []
    return _finite(lambda value: low <= value <= high, " and ".join(bounds))


def positive() -> Callable[[str], float]:
    """Finite numbers above 0."""
    return _finite(lambda value: value > 0, "above 0")


def resolution(text: str) -> int:
    """Cells per axis that `extract` decodes on."""
    from latentsdf.extraction.extract import require_resolution

    value = whole(1)(text)
    try:
        require_resolution(value)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return value


def _finite(within: Callable[[float], bool], words: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and within(value)):
            raise argparse.ArgumentTypeError(f"expected a {' '.join(('finite number', words)).strip()}, got '{text}'")
        return value

    return read
