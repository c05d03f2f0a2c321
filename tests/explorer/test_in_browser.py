"""The page of a space in a real browser."""

import base64
import socket
from typing import TYPE_CHECKING

import pytest
import trimesh
from helpers.browser import browser_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from latentsdf.space import ShapeSpace

_FINE = ".latentsdf-status[data-fine='1']"
_DROP = """([name, content]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
    document.querySelector('.latentsdf-drop').dispatchEvent(
        new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _drop(page: "Page", name: str, content: bytes) -> None:
    page.evaluate(_DROP, [name, base64.b64encode(content).decode()])


@pytest.mark.slow
def test_explorer_of_a_space(space: "ShapeSpace") -> None:
    """Sliders change the picture, neighbors can be clicked, files dropped, and nothing fails in the browser."""
    pytest.importorskip("viser")
    from latentsdf.explorer.server import serve
    from latentsdf.explorer.space_page import SpaceExplorer

    with (
        browser_page() as (page, errors),
        serve(SpaceExplorer(space, 64), "127.0.0.1", _free_port(), "test") as address,
    ):
        page.goto(address, wait_until="commit")
        page.wait_for_selector(_FINE)
        canvas, title = page.locator("canvas").first, page.locator(".latentsdf-title")
        assert space.ids[0] in title.inner_text()
        page.wait_for_function("document.querySelectorAll('label[data-shape] img').length >= 4")
        before = canvas.screenshot()

        slider = page.locator(".mantine-Slider-root").first.bounding_box()
        assert slider is not None
        row = slider["y"] + slider["height"] / 2
        page.mouse.move(slider["x"] + 0.5 * slider["width"], row)
        page.mouse.down()
        page.mouse.move(slider["x"] + 0.95 * slider["width"], row, steps=4)
        page.mouse.up()
        page.wait_for_function("document.querySelector('.latentsdf-title').innerText.startsWith('changed')")
        page.wait_for_selector(_FINE)
        assert canvas.screenshot() != before

        neighbor = page.locator("label[data-shape]").nth(len(space))
        name = neighbor.get_attribute("data-shape")
        neighbor.click()
        page.wait_for_function(f"document.querySelector('.latentsdf-title').innerText.startsWith({name!r})")

        page.get_by_role("tab", name="Fit").click()
        _drop(page, "notes.obj", b"these are my notes")
        assert "notes.obj" in page.wait_for_selector(".latentsdf-error").inner_text()
        _drop(page, "box.ply", trimesh.creation.box().export(file_type="ply"))
        page.wait_for_selector(".latentsdf-good, .latentsdf-warning")
        page.wait_for_function("document.querySelector('.latentsdf-title').innerText.startsWith('fit of box.ply')")
        assert errors == []
