"""HTML reports: escaping, embedded images, and loss curves."""

import base64
import io
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from latentsdf.evaluation.html_report import html_bars, html_curve, html_image, html_table, write_html


def test_page(tmp_path: Path) -> None:
    """Texts are escaped, embedded content is not, and nothing is loaded from elsewhere."""
    image = html_image(Image.new("RGB", (3, 2), "red"))
    table = html_table(("name", "<b>"), [("a & b", "1 < 2")])
    write_html(tmp_path / "a.html", "x < y", [("First & last", table), ("Image", image), ("Text", "<script>")])
    page = (tmp_path / "a.html").read_text()
    assert (
        page.startswith("<!doctype html>")
        and page.endswith("</html>\n")
        and "<h1>x &lt; y</h1>" in page
        and "<h2>First &amp; last</h2>" in page
    )
    assert "<td>a &amp; b</td><td>1 &lt; 2</td>" in page and "<th>&lt;b&gt;</th>" in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "http" not in page and page.count("<img") == 1
    data = re.search(r"base64,([^']+)'", page)
    assert data is not None
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as decoded:
        assert decoded.size == (3, 2) and decoded.getpixel((0, 0)) == (255, 0, 0)


def test_curve() -> None:
    """Losses are drawn on a logarithmic axis: a decade is one tick, and values fall from top to bottom."""
    lines = [{"step": float(i), "general": 10.0**-i, "overfit": 10.0 ** (-i - 1)} for i in range(4)]
    svg = ElementTree.fromstring(html_curve(lines, ("general", "overfit")))
    general, overfit = (line.attrib["points"].split() for line in svg.iter("polyline"))
    heights = [float(point.split(",")[1]) for point in general]
    steps = {round(b - a, 1) for a, b in pairwise(heights)}
    assert steps == {70.0} and heights[0] == 0
    assert general[0].startswith("60.0,") and general[-1].startswith("900.0,")
    assert float(overfit[0].split(",")[1]) == 70
    assert [text.text for text in svg.iter("text")][:5] == ["1e-4", "1e-3", "1e-2", "1e-1", "1e0"]


def test_short_and_constant_curves() -> None:
    """One line gives a note, and a constant loss a flat curve."""
    assert "no curve" in html_curve([{"step": 1.0, "general": 1.0}], ("general",))
    flat = html_curve([{"step": float(i + 1), "general": 1.0} for i in range(2)], ("general",))
    assert "nan" not in flat and "polyline" in flat


def test_bars() -> None:
    """Bars have lengths in proportion to their values, ticks at round numbers, and a color and a name per series."""
    values = {"chair": {"demo": 0.02, "pretrained": 0.005}, "lamp & shade": {"demo": 0.01}}
    svg = ElementTree.fromstring(html_bars(values))
    bars = [(float(bar.attrib["width"]), bar.attrib["fill"]) for bar in svg.iter("rect")]
    assert [width / bars[0][0] for width, _ in bars] == [1, 0.25, 0.5]
    assert bars[0][1] == bars[2][1] != bars[1][1]
    texts = [text.text for text in svg.iter("text")]
    assert texts == ["0", "0.005", "0.01", "0.015", "0.02", "chair", "lamp & shade", "demo", "pretrained"]
    titles = [title.text for title in svg.iter("title")]
    assert titles[0] == "chair, demo: 0.02"
    single = ElementTree.fromstring(html_bars({"a": {"demo": 0.0}}))
    assert [text.text for text in single.iter("text")][-1] == "a"
    assert "no values" in html_bars({})
