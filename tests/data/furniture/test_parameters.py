"""Tests of parameter declarations: draws, ranges, validation."""

from dataclasses import replace

import pytest

from latentsdf.data.furniture import FAMILIES, parameters
from latentsdf.data.furniture.parameters import Range, domains
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
@pytest.mark.parametrize("family", FAMILIES)
def test_coverage_of_ranges(family: str, wide: bool) -> None:
    """Draws stay within the ranges of their distribution, cover them, and use all choices or all styles."""
    members = [parameters(family, seed, wide=wide) for seed in range(200)]
    fields = domains(type(members[0]))
    assert len(fields) >= 8
    for name, domain in fields.items():
        values = [getattr(member, name) for member in members]
        if isinstance(domain, Range):
            low, high = domain.bounds(wide=wide)
            assert domain.low <= low <= min(values) < max(values) <= high <= domain.high
            assert max(values) - min(values) > 0.9 * (high - low)
        elif wide or not type(members[0]).STYLES:
            assert set(values) == set(domain)
        else:
            assert set(values) == {style[name] for style in type(members[0]).STYLES}


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_values() -> None:
    """Values outside their range or choices are rejected with the name of the parameter."""
    member = parameters("chair", 0)
    with pytest.raises(ConfigError, match=r"Chair\.seat_width must lie in \[0\.38, 0\.6\], got 2\.0"):
        replace(member, seat_width=2.0)
    with pytest.raises(ConfigError, match=r"Chair\.seat_width must lie in .* got nan"):
        replace(member, seat_width=float("nan"))
    with pytest.raises(
        ConfigError, match=r"Chair\.legs must be one of \('square', 'round', 'pedestal', 'sled'\), got 'three'"
    ):
        replace(member, legs="three")
