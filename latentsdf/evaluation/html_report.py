"""Self-contained HTML report of a run: headings with tables, images and loss curves, without external files."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from latentsdf.utils.atomic_files import atomic_write

_COLORS = ("#2a6fb0", "#c0504d", "#6a994e")
_WIDTH, _HEIGHT, _LEFT = 900, 280, 60  # size of the plot and its left margin, in SVG units

_TEMPLATES = {
    "page": """\
<!doctype html><meta charset='utf-8'><title>{{ title }}</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f3f5f8 }
</style><h1>{{ title }}</h1>
{% for heading, content in sections -%}
<h2>{{ heading }}</h2>
{{ content }}
{% endfor %}""",
    "image": "<img src='data:image/png;base64,{{ data }}'>",
    "table": """\
<table><tr>{% for cell in header %}<th>{{ cell }}</th>{% endfor %}</tr>
{%- for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>""",
    "curve": """\
<svg viewBox='0 -10 {{ width }} {{ height + 20 }}' width='100%'>
{%- for label, y in ticks -%}
<line x1='{{ left }}' x2='{{ width }}' y1='{{ "%.0f" % y }}' y2='{{ "%.0f" % y }}' stroke='#ddd'/>
<text x='5' y='{{ "%.0f" % (y + 4) }}' font-size='12'>{{ label }}</text>
{%- endfor -%}
{%- for name, color, points, y in curves -%}
<polyline fill='none' stroke='{{ color }}' stroke-width='1.5' points='{{ points }}'/>
<text x='{{ width - 90 }}' y='{{ "%.0f" % (y - 6) }}' font-size='13' fill='{{ color }}'>{{ name }}</text>
{%- endfor -%}
</svg>""",
}
_environment = Environment(loader=DictLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)


def write_html(path: Path, title: str, sections: Sequence[tuple[str, str]]) -> None:
    """Write a page.

    Args:
        path: Output file.
        title: Title and first heading.
        sections: Headings with their contents: text, which is escaped, or the result of `html_image`, `html_table` or
            `html_curve`.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(_render("page", title=title, sections=sections) + "\n")


def html_image(image: Image.Image) -> Markup:
    """Return an image element with an embedded PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return _render("image", data=base64.b64encode(buffer.getvalue()).decode())


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """Return a table element; the texts of its cells are escaped.

    Args:
        header: Headings of the columns.
        rows: Texts of the cells, row by row.
    """
    return _render("table", header=header, rows=rows)


def html_curve(lines: Sequence[dict[str, float]], names: Sequence[str]) -> Markup:
    """Plot loss terms over training time, on a logarithmic axis, as an inline SVG.

    Args:
        lines: Logged metrics, each with `seconds` and the terms.
        names: Up to three terms.
    """
    if len(lines) < 2:
        return Markup("<p>no curve: fewer than two lines were logged</p>")
    seconds = np.array([line["seconds"] for line in lines])
    values = {name: np.log10([max(line[name], 1e-9) for line in lines]) for name in names}
    low = math.floor(min(v.min() for v in values.values()))
    high = math.ceil(max(v.max() for v in values.values()))
    if high == low:  # every value is the same power of ten
        high += 1

    def to_y(power: Any) -> Any:
        return _HEIGHT - (power - low) / (high - low) * _HEIGHT

    x = _LEFT + seconds / seconds[-1] * (_WIDTH - _LEFT)
    ticks = [(f"1e{power}", float(to_y(power))) for power in range(low, high + 1)]
    curves = []
    for name, color in zip(names, _COLORS, strict=False):
        y = to_y(values[name])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        curves.append((name, color, points, float(y[-1])))
    return _render("curve", width=_WIDTH, height=_HEIGHT, left=_LEFT, ticks=ticks, curves=curves)


def _render(template: str, **values: object) -> Markup:
    return Markup(_environment.get_template(template).render(**values))
