"""Shapes as tiles that one can click: the searchable list of all shapes, and rows of a few."""

import threading
from collections.abc import Callable, Sequence
from functools import partial

import viser

from latentsdf.explorer import html
from latentsdf.explorer.gallery import Gallery
from latentsdf.explorer.page import Page, element_id
from latentsdf.explorer.thumbnails import Thumbnails

_NEXT, _PREVIOUS = "next ›", "‹ previous"


class TileRow:
    """A few tiles, added to the current container of a page.

    Args:
        page: The page.
        thumbnails: Source of the images.
        count: Largest number of tiles.
        choose: Called with the name of a tile that was clicked.
        columns: Tiles side by side.
        empty: Sentence shown instead of no tiles.
    """

    def __init__(
        self,
        page: Page,
        thumbnails: Thumbnails,
        count: int,
        choose: Callable[[str], None],
        *,
        columns: int = 3,
        empty: str = "No shape matches.",
    ) -> None:
        self._page, self._thumbnails, self._columns, self._empty = page, thumbnails, columns, empty
        self._lock = threading.RLock()
        self._names: Sequence[str] = ()
        self._notes: Sequence[str] = ()
        self._selected, self._text = "", ""
        self._content = page.gui.add_html("")
        self._ids = []
        for number in range(count):
            button = page.gui.add_button(f"shape {number + 1}")
            page.on(button.on_click, partial(self._press, number, choose))
            self._ids.append(element_id(button))
        page.gui.add_html(html.hide_buttons(self._ids))

    def show(self, names: Sequence[str], *, notes: Sequence[str] = (), selected: str = "", text: str = "") -> None:
        """Show other tiles: their names, remarks beneath them, the selected name, and a sentence below the tiles."""
        with self._lock:
            self._names, self._selected, self._text = names, selected, text
            self._notes = notes or [""] * len(names)
        self._draw()

    def _draw(self) -> None:
        with self._lock:
            if self._page.closed:
                return
            items = [
                html.Tile(name, self._thumbnails.get(name, self._draw), id, note, name == self._selected)
                for name, note, id in zip(self._names, self._notes, self._ids, strict=False)
            ]
            below = html.message(self._text) if self._text else ""
            self._content.content = html.tiles(items, self._columns, self._empty) + below

    def _press(self, number: int, choose: Callable[[str], None], _: object) -> None:
        if number < len(self._names):
            choose(self._names[number])


class GalleryPanel:
    """The list of all shapes, docked at the left of a page.

    Args:
        page: The page.
        gallery: Returns the list, which may grow.
        thumbnails: Source of the images.
        choose: Called with the name of a shape that was clicked.
        add_controls: Adds more controls beneath the search.
    """

    def __init__(
        self,
        page: Page,
        gallery: Callable[[], Gallery],
        thumbnails: Thumbnails,
        choose: Callable[[str], None],
        add_controls: Callable[[], None] = lambda: None,
    ) -> None:
        gui = page.gui
        self._gallery, self._number, self._selected = gallery, 0, ""
        panel = gui.add_panel()
        with panel.add_tab("Shapes", viser.Icon.CUBE):
            self._search = gui.add_text("Search", "", hint="Words that names or categories must contain")
            self._category = gui.add_dropdown("Category", gallery().categories)
            add_controls()
            self._row = TileRow(page, thumbnails, gallery().size, choose)
            turn = gui.add_button_group("Page", (_PREVIOUS, _NEXT))
        panel.dock_left()
        panel.set_width(330)
        page.on(self._search.on_update, lambda _: self.turn_to(0))
        page.on(self._category.on_update, lambda _: self.turn_to(0))
        page.on(turn.on_click, lambda value: self.turn_to(self._number + (1 if value == _NEXT else -1)))
        self.turn_to(0)

    @property
    def category(self) -> str:
        """The chosen category, or `ALL`."""
        return str(self._category.value)

    def turn_to(self, number: int) -> None:
        """Show another page of the list."""
        page = self._gallery().page(number, text=self._search.value, category=self.category)
        self._number = page.number
        shapes = "1 shape" if page.matches == 1 else f"{page.matches:,} shapes"
        text = f"{shapes}, page {page.number + 1} of {page.pages}"
        names, notes = [entry.name for entry in page.entries], [entry.note for entry in page.entries]
        self._row.show(names, notes=notes, selected=self._selected, text=text if page.matches else "")

    def select(self, name: str) -> None:
        """Mark the shape with a name, or none."""
        if name != self._selected:
            self._selected = name
            self.turn_to(self._number)
