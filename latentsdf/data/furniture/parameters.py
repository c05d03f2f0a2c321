"""Parameters of procedural furniture: declaration, random draws and validation.

A family is a frozen dataclass. A length in meters or an angle in degrees is declared as `Annotated[float, Range(low,
high)]`, a choice as `Literal` or `bool`. The annotations define both the distributions of random draws and the valid
values.

There are two distributions. The wide one covers all ranges and all combinations of choices, for training sets of
hundreds to thousands of shapes. The narrow one covers `Range.narrow` and the combinations in `Parameters.STYLES`, so
that a few dozen shapes have close neighbors, as the demo needs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
from manifold3d import Manifold

from latentsdf.utils.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """A closed interval of real numbers."""

    low: float
    """Lower bound."""
    high: float
    """Upper bound."""
    narrow: tuple[float, float] | None = None
    """Bounds of the narrow distribution; None for the whole interval."""

    def bounds(self, *, wide: bool) -> tuple[float, float]:
        """Bounds of random draws of the wide or the narrow distribution."""
        return (self.low, self.high) if wide or self.narrow is None else self.narrow


@cache
def domains(family: type["Parameters"]) -> dict[str, Range | tuple[Any, ...]]:
    """Return, for each field of a family in order, its `Range` or the tuple of its choices."""
    hints = get_type_hints(family, include_extras=True)
    return {field.name: _domain(hints[field.name]) for field in fields(family)}


def _domain(hint: Any) -> Range | tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        bounds: Range = hint.__metadata__[0]
        return bounds
    if get_origin(hint) is Literal:
        return get_args(hint)
    assert hint is bool, f"a field must be Annotated[float, Range], Literal or bool, not {hint}"
    return (False, True)


@dataclass(frozen=True)
class Parameters(ABC):
    """Base class of the families.

    Raises:
        ConfigError: A value is outside its range.
    """

    STYLES: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Combinations of choices of the narrow distribution, as field values by name; if empty, all combinations. All
    other combinations are valid, too. The list is short, so that a small training set has several shapes per
    combination."""

    def __post_init__(self) -> None:
        """Validate the values."""
        for name, domain in domains(type(self)).items():
            value = getattr(self, name)
            if isinstance(domain, Range):
                if not domain.low <= value <= domain.high:
                    raise ConfigError(
                        f"{type(self).__name__}.{name} must lie in [{domain.low}, {domain.high}], got {value!r}"
                    )
            elif value not in domain:
                raise ConfigError(f"{type(self).__name__}.{name} must be one of {domain}, got {value!r}")

    @classmethod
    def draw(cls, generator: np.random.Generator, *, wide: bool = False) -> "Parameters":
        """Draw the choices, then every length and angle independently and uniformly from its range.

        Args:
            generator: Source of random numbers.
            wide: Use the wide distribution, see the module docstring.
        """
        known = domains(cls)
        if wide or not cls.STYLES:
            choices = {name: domain for name, domain in known.items() if not isinstance(domain, Range)}
            style = {name: domain[int(generator.integers(len(domain)))] for name, domain in choices.items()}
        else:
            style = cls.STYLES[int(generator.integers(len(cls.STYLES)))]
        ranges = {name: domain for name, domain in known.items() if isinstance(domain, Range)}
        return cls(**style, **{name: float(generator.uniform(*r.bounds(wide=wide))) for name, r in ranges.items()})

    @abstractmethod
    def solid(self) -> Manifold:
        """Build the closed solid, in meters, with y up, the floor at y = 0 and the front toward +z."""
