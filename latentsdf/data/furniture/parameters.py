"""The numbers that describe one piece of furniture: declared with their range, drawn from a generator, checked.

A family is a frozen dataclass. A length or an angle is `Annotated[float, Range(low, high)]` (metres, degrees), a switch
is a `Literal` or a `bool`; the annotations alone say how to draw a member and what to refuse.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

import numpy as np
from manifold3d import Manifold

from latentsdf.utils.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """A closed interval of real numbers."""

    low: float
    high: float


@cache
def domains(family: type["Parameters"]) -> dict[str, Range | tuple[Any, ...]]:
    """For each field of a family, in order: its `Range`, or the tuple of its choices."""
    hints = get_type_hints(family, include_extras=True)
    return {field.name: _domain(hints[field.name]) for field in fields(family)}


def _domain(hint: Any) -> Range | tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        bounds: Range = hint.__metadata__[0]
        return bounds
    if get_origin(hint) is Literal:
        return get_args(hint)
    assert hint is bool, f"a field is Annotated[float, Range], Literal or bool, not {hint}"
    return (False, True)


@dataclass(frozen=True)
class Parameters(ABC):
    """Base of the families; raises ConfigError for a value outside its range."""

    STYLES: ClassVar[tuple[dict[str, Any], ...]]
    """Switches that go together in real furniture, by name. Every combination can be built, these are drawn: few enough
    for a small training set to hold each several times."""

    def __post_init__(self) -> None:
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
    def draw(cls, generator: np.random.Generator) -> Self:
        """One member of the family: a style, then every length and angle independent and uniform over its range."""
        style = cls.STYLES[int(generator.integers(len(cls.STYLES)))]
        ranges = {name: domain for name, domain in domains(cls).items() if isinstance(domain, Range)}
        return cls(**style, **{name: float(generator.uniform(r.low, r.high)) for name, r in ranges.items()})

    @abstractmethod
    def solid(self) -> Manifold:
        """The closed solid: metres, y up, the floor at y = 0, the front towards +z."""
