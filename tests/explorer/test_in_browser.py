"""The pages of spaces, fields and stores in a real browser."""

import base64
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch
import trimesh
from helpers.browser import Visit, open_browser

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.similarity import Similarity

pytest.importorskip("viser")

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from latentsdf.data.store import SampleStore
    from latentsdf.space import ShapeSpace

pytestmark = pytest.mark.slow

_FINE = ".latentsdf-status[data-fine='1']"
_DROP = """([name, content]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
    document.querySelector('.latentsdf-drop').dispatchEvent(
        new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


class _Ball(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(0.6))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points.norm(dim=-1) - self.radius


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _drop(page: "Page", name: str, content: bytes) -> None:
    page.evaluate(_DROP, [name, base64.b64encode(content).decode()])


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    """Opens pages in one browser."""
    with open_browser() as opened:
        yield opened


def _title_starts_with(page: "Page", text: str) -> None:
    page.wait_for_function(f"document.querySelector('.latentsdf-title')?.innerText.startsWith({text!r})")


def _drag_first_slider(page: "Page", share: float) -> None:
    slider = page.locator(".mantine-Slider-root").first.bounding_box()
    assert slider is not None
    row = slider["y"] + slider["height"] / 2
    page.mouse.move(slider["x"] + 0.5 * slider["width"], row)
    page.mouse.down()
    page.mouse.move(slider["x"] + share * slider["width"], row, steps=4)
    page.mouse.up()


def test_explorer_of_a_space(space: "ShapeSpace", visit: Visit) -> None:
    """Sliders change the picture, neighbors can be clicked, files dropped, and nothing fails in the browser."""
    from latentsdf.explorer.server import serve
    from latentsdf.explorer.space_page import SpaceExplorer

    with serve(SpaceExplorer(space, 64), "127.0.0.1", _free_port(), "test") as address:
        page, errors = visit(address)
        page.wait_for_selector(_FINE)
        canvas, title = page.locator("canvas").first, page.locator(".latentsdf-title")
        assert space.ids[0] in title.inner_text()
        page.wait_for_function("document.querySelectorAll('label[data-shape] img').length >= 4")
        before = canvas.screenshot()

        _drag_first_slider(page, 0.95)
        _title_starts_with(page, "changed")
        page.wait_for_selector(_FINE)
        assert canvas.screenshot() != before

        neighbor = page.locator("label[data-shape]").nth(len(space))
        name = neighbor.get_attribute("data-shape")
        neighbor.click()
        assert name is not None
        _title_starts_with(page, name)

        page.get_by_role("tab", name="Fit").click()
        _drop(page, "notes.obj", b"these are my notes")
        assert "notes.obj" in page.wait_for_selector(".latentsdf-error").inner_text()
        _drop(page, "box.ply", trimesh.creation.box().export(file_type="ply"))
        page.wait_for_selector(".latentsdf-good, .latentsdf-warning")
        _title_starts_with(page, "fit of box.ply")
        assert errors == []
        page.close()


def test_visitors(space: "ShapeSpace", visit: Visit) -> None:
    """Each visitor sees what they do themselves, and a tab that is closed during a fit ends it."""
    from latentsdf.explorer.server import serve
    from latentsdf.explorer.space_page import SpaceExplorer

    explorer = SpaceExplorer(space, 64)
    with serve(explorer, "127.0.0.1", _free_port(), "test") as address:
        (first, errors), (second, other_errors) = visit(address), visit(address)
        for page in (first, second):
            page.wait_for_selector(_FINE)
        _drag_first_slider(first, 0.95)
        _title_starts_with(first, "changed")
        first.wait_for_selector(_FINE)
        changed = first.locator(".latentsdf-title").inner_text()
        assert space.ids[0] == second.locator(".latentsdf-title").inner_text().split()[0]
        second.locator("label[data-shape]").nth(2).click()
        _title_starts_with(second, space.ids[2])
        second.wait_for_selector(_FINE)
        assert first.locator(".latentsdf-title").inner_text() == changed
        assert first.locator("canvas").first.screenshot() != second.locator("canvas").first.screenshot()

        first.get_by_role("tab", name="Fit").click()
        _drop(first, "ball.ply", trimesh.creation.icosphere(4).export(file_type="ply"))
        first.wait_for_function("document.body.innerText.includes('inverting')")
        first.close()
        assert explorer.fits.acquire(timeout=20), "the fit goes on after its visitor has left"
        explorer.fits.release()
        _drag_first_slider(second, 0.1)
        _title_starts_with(second, "changed")
        assert errors == other_errors == []
        second.close()


def test_explorer_of_a_field(visit: Visit) -> None:
    """The mesh of a field is shown, and a cross-section of it."""
    from latentsdf.explorer.field_page import FieldExplorer
    from latentsdf.explorer.server import serve
    from latentsdf.reconstruction.result import Reconstruction

    field = Reconstruction(_Ball(), Similarity((3.0, 0.0, 0.0), 0.5), ReconstructConfig())
    with serve(FieldExplorer(field, 64), "127.0.0.1", _free_port(), "test") as address:
        page, errors = visit(address)
        page.wait_for_selector(_FINE)
        canvas = page.locator("canvas").first
        before = canvas.screenshot()
        page.get_by_text("Cross-section").click()
        page.wait_for_selector(".latentsdf-status[data-number='4']")
        assert canvas.screenshot() != before
        assert errors == []
        page.close()


def test_explorer_of_a_store(lamp_store: "SampleStore", visit: Visit) -> None:
    """The surface in the band is shown, and samples in its place."""
    from latentsdf.explorer.server import serve
    from latentsdf.explorer.store_page import StoreExplorer

    with serve(StoreExplorer(lamp_store), "127.0.0.1", _free_port(), "test") as address:
        page, errors = visit(address)
        page.wait_for_selector("label[data-shape] img")
        canvas = page.locator("canvas").first
        before = canvas.screenshot()
        page.get_by_label("Show", exact=True).click()
        page.get_by_role("option", name="vertices of the band").click()
        page.wait_for_function("document.body.innerText.includes('Blue inside')")
        page.wait_for_timeout(500)
        assert canvas.screenshot() != before
        assert errors == []
        page.close()
