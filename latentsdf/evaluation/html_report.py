"""Self-contained HTML report of a run: headings with tables, images, loss curves and bars, without external files."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from latentsdf.utils.atomic_files import atomic_write

_COLORS = ("#2a6fb0", "#c0504d", "#6a994e")
_WIDTH, _HEIGHT, _LEFT = 900, 280, 60  # size of the plot and its left margin, in SVG units
_BAR, _BAR_LEFT = 9, 110  # thickness of a bar, and its left margin

_TEMPLATES = {
    "page": """\
<!doctype html><html lang='en'><meta charset='utf-8'><title>{{ title }}</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr:nth-child(even) { background: #f3f5f8 }
</style><h1>{{ title }}</h1>
{% for heading, content in sections -%}
<h2>{{ heading }}</h2>
{{ content }}
{% endfor %}</html>""",
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
    "bars": """\
<svg viewBox='0 0 {{ width }} {{ height }}' width='100%' font-size='12'>
{%- for label, x in ticks -%}
<line x1='{{ "%.1f" % x }}' x2='{{ "%.1f" % x }}' y1='18' y2='{{ bottom }}' stroke='#ddd'/>
<text x='{{ "%.1f" % x }}' y='12' text-anchor='middle'>{{ label }}</text>
{%- endfor -%}
{%- for name, y in names -%}
<text x='{{ left - 8 }}' y='{{ y }}' text-anchor='end'>{{ name }}</text>
{%- endfor -%}
{%- for title, color, x, y, thickness, length in bars -%}
<rect x='{{ x }}' y='{{ y }}' width='{{ "%.1f" % length }}' height='{{ thickness }}' fill='{{ color }}'>
<title>{{ title }}</title></rect>
{%- endfor -%}
{%- for name, color, y in legend -%}
<text x='{{ left }}' y='{{ y }}' fill='{{ color }}'>{{ name }}</text>
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
        temporary.write_text(_render("page", title=title, sections=sections) + "\n", encoding="utf-8")


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
    """Plot loss terms over training steps, on a logarithmic axis, as an inline SVG.

    Args:
        lines: Logged metrics, each with `step` and the terms.
        names: Up to three terms.
    """
    if len(lines) < 2:
        return Markup("<p>no curve: fewer than two lines were logged</p>")
    steps = np.array([line["step"] for line in lines])
    values = {name: np.log10([max(line[name], 1e-9) for line in lines]) for name in names}
    low = math.floor(min(v.min() for v in values.values()))
    high = math.ceil(max(v.max() for v in values.values()))
    if high == low:  # every value is the same power of ten
        high += 1

    def to_y(power: Any) -> Any:
        return _HEIGHT - (power - low) / (high - low) * _HEIGHT

    x = _LEFT + steps / steps[-1] * (_WIDTH - _LEFT)
    ticks = [(f"1e{power}", float(to_y(power))) for power in range(low, high + 1)]
    curves = []
    for name, color in zip(names, _COLORS, strict=False):
        y = to_y(values[name])
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        curves.append((name, color, points, float(y[-1])))
    return _render("curve", width=_WIDTH, height=_HEIGHT, left=_LEFT, ticks=ticks, curves=curves)


def html_bars(values: Mapping[str, Mapping[str, float]]) -> Markup:
    """Plot values of several series by name as horizontal bars on a linear axis from 0, as an inline SVG.

    Args:
        values: Values, 0 or larger, by name and series; up to three series. A series may lack names.
    """
    series = list(dict.fromkeys(one for row in values.values() for one in row))
    if not series:
        return Markup("<p>no values</p>")
    largest = max(max(row.values(), default=0.0) for row in values.values()) or 1.0
    step = _round_step(largest / 4)
    scale = (_WIDTH - _BAR_LEFT - 20) / largest
    ticks = [(f"{i * step:g}", _BAR_LEFT + i * step * scale) for i in range(int(largest / step + 1e-9) + 1)]
    colors = dict(zip(series, _COLORS, strict=False))
    row_height = _BAR * len(series) + 5
    names, bars = [], []
    for number, (name, row) in enumerate(values.items()):
        top = 22 + number * row_height
        names.append((name, top + _BAR * len(series) // 2 + 4))
        for position, one in enumerate(series):
            if one in row:
                length = row[one] * scale
                title = f"{name}, {one}: {row[one]:.4g}"
                bars.append((title, colors[one], _BAR_LEFT, top + _BAR * position, _BAR - 1, length))
    bottom = 22 + row_height * len(values)
    # Below the bars; a single series needs no legend.
    legend = [(one, colors[one], bottom + 16 * (i + 1)) for i, one in enumerate(series)] if len(series) > 1 else []
    return _render(
        "bars",
        width=_WIDTH,
        bottom=bottom,
        height=bottom + 16 * len(legend) + 6,
        left=_BAR_LEFT,
        ticks=ticks,
        names=names,
        bars=bars,
        legend=legend,
    )


def _round_step(value: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


def _render(template: str, **values: object) -> Markup:
    return Markup(_environment.get_template(template).render(**values))
