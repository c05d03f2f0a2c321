"""Self-contained HTML reports: tables, pictures and loss curves."""

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f3f5f8 }
"""


def write_html(path: Path, title: str, sections: Sequence[tuple[str, str]]) -> None:
    """A page of (heading, HTML) sections with everything embedded."""
    body = "\n".join(f"<h2>{html.escape(heading)}</h2>\n{content}" for heading, content in sections)
    page = f"<!doctype html><meta charset='utf-8'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    path.write_text(f"{page}<h1>{html.escape(title)}</h1>\n{body}\n")


def html_image(image: Image.Image) -> str:
    """A picture as an embedded PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"<img src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def html_curve(lines: Sequence[dict[str, float]], names: Sequence[str]) -> str:
    """Loss terms over training time, logarithmic, as an inline SVG."""
    if len(lines) < 2:
        return "<p>no curve: fewer than two lines were logged</p>"
    width, height, left = 900, 280, 60
    seconds = np.array([line["seconds"] for line in lines])
    values = {name: np.log10([max(line[name], 1e-9) for line in lines]) for name in names}
    low = math.floor(min(v.min() for v in values.values()))
    high = math.ceil(max(v.max() for v in values.values()))
    parts = []
    for power in range(low, high + 1):
        y = height - (power - low) / (high - low) * height
        parts.append(f"<line x1='{left}' x2='{width}' y1='{y:.0f}' y2='{y:.0f}' stroke='#ddd'/>")
        parts.append(f"<text x='5' y='{y + 4:.0f}' font-size='12'>1e{power}</text>")
    for name, colour in zip(names, ("#2a6fb0", "#c0504d", "#6a994e"), strict=False):
        x = left + seconds / seconds[-1] * (width - left)
        y = height - (values[name] - low) / (high - low) * height
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        parts.append(f"<polyline fill='none' stroke='{colour}' stroke-width='1.5' points='{points}'/>")
        parts.append(f"<text x='{width - 90}' y='{y[-1] - 6:.0f}' font-size='13' fill='{colour}'>{name}</text>")
    return f"<svg viewBox='0 -10 {width} {height + 20}' width='100%'>{''.join(parts)}</svg>"
