"""The list of shapes on a page: filtered by name and category, and divided into pages of tiles."""

from collections.abc import Sequence
from dataclasses import dataclass

ALL = "all"
"""Choice of no particular category."""


@dataclass(frozen=True)
class Entry:
    """A shape in the list."""

    name: str
    """Name by which the page looks the shape up."""
    category: str
    note: str = ""
    """Remark shown beneath the name."""


@dataclass(frozen=True)
class GalleryPage:
    """The entries of one page of the list."""

    entries: tuple[Entry, ...]
    number: int
    """From 0; the last page if the requested one does not exist."""
    pages: int
    """Number of pages, at least 1."""
    matches: int
    """Number of entries on all pages."""


class Gallery:
    """Shapes in the order in which they are shown.

    Args:
        entries: The shapes.
        size: Tiles per page.
    """

    def __init__(self, entries: Sequence[Entry], size: int = 12) -> None:
        self.entries, self.size = tuple(entries), size

    @property
    def categories(self) -> tuple[str, ...]:
        """`ALL` and the categories, sorted."""
        return ALL, *sorted({entry.category for entry in self.entries})

    def page(self, number: int = 0, *, text: str = "", category: str = ALL) -> GalleryPage:
        """Return a page of the entries that match.

        Args:
            number: Page, from 0.
            text: Words that names or categories must all contain, in any case.
            category: Category, or `ALL`.
        """
        words = text.casefold().split()
        found = [
            entry
            for entry in self.entries
            if category in (ALL, entry.category)
            and all(word in f"{entry.category}/{entry.name}".casefold() for word in words)
        ]
        pages = max(1, -(-len(found) // self.size))
        number = min(max(number, 0), pages - 1)
        return GalleryPage(tuple(found[number * self.size : (number + 1) * self.size]), number, pages, len(found))
