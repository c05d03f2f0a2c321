"""Tests of parameter declarations: draws, ranges, validation."""

from dataclasses import replace

import pytest

from latentsdf.data.furniture import FAMILIES, parameters
from latentsdf.data.furniture.parameters import Range, domains
from latentsdf.utils.errors import ConfigError


@pytest.mark.parametrize("family", FAMILIES)
def test_coverage_of_ranges(family: str) -> None:
    """Draws stay within their ranges, cover them, and use all choices."""
    members = [parameters(family, seed) for seed in range(200)]
    fields = domains(type(members[0]))
    assert len(fields) >= 8
    for name, domain in fields.items():
        values = [getattr(member, name) for member in members]
        if isinstance(domain, Range):
            assert domain.low <= min(values) < max(values) <= domain.high
            assert max(values) - min(values) > 0.9 * (domain.high - domain.low)
        else:
            assert set(values) == set(domain)


@pytest.mark.usefixtures("without_shape_checks")
def test_invalid_values() -> None:
    """Values outside their range or choices are rejected with the name of the parameter."""
    member = parameters("chair", 0)
    with pytest.raises(ConfigError, match=r"Chair\.seat_width must lie in \[0\.428, 0\.512\], got 2\.0"):
        replace(member, seat_width=2.0)
    with pytest.raises(ConfigError, match=r"Chair\.seat_width must lie in .* got nan"):
        replace(member, seat_width=float("nan"))
    with pytest.raises(ConfigError, match=r"Chair\.legs must be one of \('square', 'round', 'pedestal'\), got 'three'"):
        replace(member, legs="three")
