"""The filtered list of shapes, in pages."""

from latentsdf.explorer.gallery import ALL, Entry, Gallery

_ENTRIES = [Entry(f"{category}_{number}", category) for category in ("table", "chair") for number in range(5)]


def test_pages() -> None:
    """Pages contain all entries in order."""
    gallery = Gallery(_ENTRIES, size=4)
    pages = [gallery.page(number) for number in range(3)]
    assert [entry for page in pages for entry in page.entries] == _ENTRIES
    assert [len(page.entries) for page in pages] == [4, 4, 2]
    assert {(page.pages, page.matches) for page in pages} == {(3, 10)}


def test_page_numbers_are_limited_to_existing_pages() -> None:
    """Turning beyond the ends stays on the last or first page."""
    gallery = Gallery(_ENTRIES, size=4)
    assert gallery.page(7).number == 2
    assert gallery.page(-1).number == 0


def test_filters() -> None:
    """All words must match, in any case, and the category exactly."""
    gallery = Gallery(_ENTRIES, size=4)
    assert gallery.categories == (ALL, "chair", "table")
    assert {entry.category for entry in gallery.page(category="chair").entries} == {"chair"}
    assert [entry.name for entry in gallery.page(text="  3 CHAIR ").entries] == ["chair_3"]
    nothing = gallery.page(text="sofa")
    assert (nothing.entries, nothing.pages, nothing.matches) == ((), 1, 0)
