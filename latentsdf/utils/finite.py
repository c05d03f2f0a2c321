"""Check for points that are not finite, before a lookup in a grid would read beyond its memory."""

from typing import TYPE_CHECKING

from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


def require_finite(points: "Tensor") -> None:
    """Raise ConfigError with the number of points (N, d) that have a coordinate that is not finite."""
    bad = int((~points.isfinite()).any(1).sum())
    if bad:
        raise ConfigError(f"{bad:,} of {len(points):,} points are not finite numbers; leave them out")
