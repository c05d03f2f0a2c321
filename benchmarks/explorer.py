"""Latency of the explorer in a real browser: time from a drag on a slider to the redrawn shape.

    python benchmarks/explorer.py checkpoints/chairs --drags 100

It needs the extras `view` and `dev`, and Chromium. The page is drawn without a GPU if the machine has none, which is
then a part of the times. Each drag moves the first slider and waits for its redraw: the browser's clock runs from the
mouse event to the end of the frame in which the new mesh was drawn. The next drag begins when nothing has been redrawn
for 0.15 s. Afterwards the hand rests, and the time until the fine mesh is drawn is measured, 0.3 s of waiting included.
Some drags before the others are not counted. Times on a machine with other work are those of the scheduler: the load is
printed. Without a GPU, drawing takes as much of the processor as decoding, and more with more pixels: --size is that of
the window, and --dpr the number of drawn pixels per pixel of the window, `?fixedDpr=` in the address of the page.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `latentsdf view` does, before torch is imported

import torch
from playwright.sync_api import Page, sync_playwright

import latentsdf as ls
from latentsdf.explorer.server import serve
from latentsdf.explorer.space_page import SpaceExplorer

_SOFTWARE_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_WATCH = """() => {
    window.redraws = []; window.moved = 0; window.latest = 0; window.shown = 0; let last = null;
    document.addEventListener('mousemove', () => { window.moved = performance.now(); }, true);
    new MutationObserver(() => {
        const status = document.querySelector('.latentsdf-status');
        if (!status || status.dataset.number === last) return;
        last = status.dataset.number;
        window.latest = performance.now();
        const number = window.shown = Number(last), {fine} = status.dataset, text = status.innerText;
        requestAnimationFrame(() => setTimeout(() => window.redraws.push(
            {number, fine: fine === '1', milliseconds: performance.now() - window.moved, text})));
    }).observe(document.body, {childList: true, subtree: true, attributes: true, characterData: true});
}"""
# The first redraw after a drag. A busy browser may draw the fine mesh without having drawn the preview before it; the
# fine mesh of the drag before, which may still arrive, has the next number.
_REDRAWN = "window.redraws.find(redraw => !redraw.fine || redraw.number >= window.before + 2)"
_FINE = ".latentsdf-status[data-fine='1']"
_TIMEOUT = 300_000  # milliseconds
_WARM_UP = 5  # drags


def measure(page: Page, drags: int) -> list[dict[str, object]]:
    """Drag the first slider; returns the first redraw after each counted drag, and the fine one at the end."""
    page.evaluate(_WATCH)
    slider = page.locator(".mantine-Slider-root").first.bounding_box()
    assert slider is not None
    row = slider["y"] + slider["height"] / 2
    page.mouse.move(slider["x"] + 0.5 * slider["width"], row)
    page.mouse.down()
    found = []
    for number in range(_WARM_UP + drags):
        # Back and forth over the middle 80 %, by at least one step of the slider.
        share = 0.1 + 0.8 * abs((number * 0.037) % 2 - 1)
        page.wait_for_function("performance.now() - window.latest > 150", polling=10)
        page.evaluate("window.redraws = []; window.before = window.shown")
        page.mouse.move(slider["x"] + share * slider["width"], row)
        page.wait_for_function(_REDRAWN, timeout=_TIMEOUT, polling=10)
        found.append(page.evaluate(_REDRAWN))
    page.mouse.up()
    page.wait_for_function("window.redraws.some(redraw => redraw.fine)", timeout=_TIMEOUT)
    found.append(next(r for r in page.evaluate("window.redraws") if r["fine"]))
    return found[_WARM_UP:]


def _decoding(redraw: dict[str, object]) -> float:
    """Return the milliseconds of decoding that the status on the page states."""
    return float(str(redraw["text"]).rsplit(" ", 2)[1].replace(",", ""))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", type=Path)
    parser.add_argument("--drags", type=int, default=100)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 800), metavar="PIXELS", help="width and height")
    parser.add_argument("--dpr", type=float, help="drawn pixels per pixel of the window along each axis")
    parser.add_argument("--out", type=Path, help="JSON file of all measurements")
    args = parser.parse_args()
    load_before = os.getloadavg()[0]
    explorer = SpaceExplorer(ls.load(args.space), args.resolution)
    with serve(explorer, "127.0.0.1", 0, "benchmark") as address, sync_playwright() as driver:
        command = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=command, args=["--no-sandbox", *_SOFTWARE_WEBGL])
        page = browser.new_page(viewport={"width": args.size[0], "height": args.size[1]})
        if args.dpr is not None:
            address += f"/?fixedDpr={args.dpr}"
        page.goto(address, wait_until="commit", timeout=_TIMEOUT)
        page.wait_for_selector(_FINE, timeout=_TIMEOUT)
        page.wait_for_timeout(3000)
        redraws = measure(page, args.drags)
        browser.close()
    *drags, fine = redraws
    times = sorted(float(str(redraw["milliseconds"])) for redraw in drags)
    decoded = sorted(_decoding(redraw) for redraw in drags)
    elsewhere = sorted(float(str(redraw["milliseconds"])) - _decoding(redraw) for redraw in drags)
    threads = torch.get_num_threads()
    sys.stdout.write(
        f"previews: {explorer.preview} branch, {len(drags)} drags, {threads} torch threads, "
        f"{os.cpu_count()} processors, load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after\n"
    )
    for name, values in (("redraw", times), ("of it, decoding", decoded), ("of it, browser and transport", elsewhere)):
        largest = values[min(len(values) - 1, int(0.95 * len(values)))]
        sys.stdout.write(f"{name}: median {statistics.median(values):.0f} ms, 95 % {largest:.0f} ms\n")
    sys.stdout.write(f"fine mesh after the last drag: {float(str(fine['milliseconds'])):.0f} ms ({fine['text']})\n")
    if args.out is not None:
        args.out.write_text(json.dumps(redraws, indent=1))


if __name__ == "__main__":
    main()
