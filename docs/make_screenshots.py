"""Takes the screenshots of the explorer in the documentation, in headless Chromium.

    python docs/make_screenshots.py

It opens the pretrained space `furniture` and needs the extras `view` and `dev`, and Chromium. The pictures are
committed.
"""

import base64
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import latentsdf as ls
from latentsdf.data.furniture import furniture
from latentsdf.explorer.server import serve
from latentsdf.explorer.space_page import SpaceExplorer

OUT = Path(__file__).parent / "images"
SHAPE = "chair_wide_0029"
BLEND = ("table", "chair", "stool", "sofa")
_BROWSER = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_TIMEOUT = 120_000  # milliseconds
_DROP = """([name, content]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
    document.querySelector('.latentsdf-drop').dispatchEvent(
        new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


def main() -> None:
    """Take all screenshots."""
    space = ls.load("furniture")
    with serve(SpaceExplorer(space, 256), "127.0.0.1", 0, "furniture") as address, sync_playwright() as driver:
        command = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=command, args=[*_BROWSER])
        page = browser.new_page(viewport={"width": 1180, "height": 760})
        page.set_default_timeout(_TIMEOUT)
        page.goto(address, wait_until="commit")
        rest(page)
        page.get_by_text("Software WebGL").wait_for()
        page.get_by_text("Software WebGL").locator("xpath=../..").get_by_role("button").click()
        show(page, space.ids[space.row(SHAPE)])
        page.wait_for_timeout(20_000)  # thumbnails
        save(page, "explorer")
        page.get_by_role("tab", name="View").click()
        page.get_by_text("Cross-section").click()
        page.get_by_label("Tint the band").click()
        rest(page)
        save(page, "explorer_section")
        page.get_by_text("Cross-section").click()
        page.get_by_role("tab", name="Blend").click()
        page.locator(".latentsdf-pad").wait_for()
        pad = page.locator(".latentsdf-pad").bounding_box()
        assert pad is not None
        page.mouse.click(pad["x"] + 0.4 * pad["width"], pad["y"] + 0.6 * pad["height"])
        rest(page)
        page.wait_for_timeout(15_000)
        save(page, "explorer_blend")
        page.get_by_role("tab", name="Fit").click()
        content = furniture("chair", 100_003, wide=True).export(file_type="ply")
        page.evaluate(_DROP, ["my_chair.ply", base64.b64encode(content).decode()])
        page.wait_for_selector(".latentsdf-good, .latentsdf-warning")
        rest(page)
        save(page, "explorer_fit")
        browser.close()


def show(page: Page, name: str) -> None:
    """Choose a shape by its name."""
    page.locator(".mantine-TextInput-input").first.fill(name)
    page.locator(f"label[data-shape='{name}']").first.click()
    rest(page)
    page.locator(".mantine-TextInput-input").first.fill("")


def rest(page: Page) -> None:
    """Wait until the fine mesh is drawn."""
    page.wait_for_timeout(1000)
    page.wait_for_selector(".latentsdf-status[data-fine='1']")
    page.wait_for_timeout(4000)


def save(page: Page, name: str) -> None:
    """Write a screenshot with few colors."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        OUT / f"{name}.png", optimize=True
    )
    print(OUT / f"{name}.png", (OUT / f"{name}.png").stat().st_size)


if __name__ == "__main__":
    main()
