"""Numbers of a configuration, and points, within their ranges, so that none is off in silence or ends in NaN."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


def require_in_range(
    config: Any, least: Mapping[str, float], *, positive: Collection[str] = (), shares: Collection[str] = ()
) -> None:
    """Raise ConfigError, with the dotted name, for a number of a configuration that is out of its range.

    Each must be finite and at least what `least` says of it, or 0; above 0 where it is in `positive`, and at most 1
    where it is in `shares`. The numbers of a schedule go by its name.
    """
    for name, value in _numbers(config):
        low = least.get(name, 0)
        if not math.isfinite(value):
            raise ConfigError(f"{name} must be a finite number, got {value}")
        if value < low:
            raise ConfigError(f"{name} must be at least {low}, got {value}")
        if name in positive and value == 0:
            raise ConfigError(f"{name} must be above 0, got {value}")
        if name in shares and value > 1:
            raise ConfigError(f"{name} is a share and must be at most 1, got {value}")


def require_finite(points: "Tensor") -> None:
    """Raise ConfigError for points (N, d) that are not finite; a lookup in a grid would read beyond its memory."""
    bad = int((~points.isfinite()).any(1).sum())
    if bad:
        raise ConfigError(f"{bad:,} of {len(points):,} points are not finite numbers; leave them out")


def _numbers(config: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    for field in dataclasses.fields(config):
        name, value = prefix + field.name, getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, f"{name}.")
        else:
            several = value if isinstance(value, tuple) else (value,)
            yield from ((name, one) for one in several if isinstance(one, int | float))
