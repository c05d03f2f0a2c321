"""Docstrings of attributes."""

from dataclasses import dataclass

from latentsdf.utils.attribute_docs import attribute_docs


@dataclass
class _Base:
    inherited: int = 0
    """Not listed."""


@dataclass
class _Example(_Base):
    """Not the docstring of an attribute."""

    first: int = 1
    """The first one,
    on two lines."""
    without: int = 2
    last: "tuple[int, ...]" = ()
    """The last one:
    - an item
      on two lines;
    - another one."""


def test_attribute_docstrings() -> None:
    """The string after an annotated attribute documents it; others have no entry. Items of lists keep their lines."""
    last = "The last one:\n- an item on two lines;\n- another one."
    assert attribute_docs(_Example) == {"first": "The first one, on two lines.", "last": last}
