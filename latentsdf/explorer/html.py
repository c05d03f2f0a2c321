"""HTML of the parts of a page that viser has no control for: tiles with images, the pad, the place to drop files.

viser shows HTML but does not tell when it is clicked, so these parts act on a control of viser beside them, which is
hidden, by its id in the document: a label presses a button, the pad writes its position into a number, and dropped
files go to an upload button.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from latentsdf.explorer.fitting import MAX_BYTES, SUFFIXES
from latentsdf.geometry.metrics.vertex_errors import color_scale

PAD_STEPS = 1000
"""Steps of the pad from one side to the other."""
_LINE = "display:block;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_ACCENT = "#2b6cb0"
_TILE = (
    "display:block;cursor:pointer;text-align:center;font-size:0.72em;line-height:1.25;padding:2px;border-radius:6px;"
    "overflow:hidden;border:2px solid {border};background:#fff;color:#222"
)
_NAME = "display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden;overflow-wrap:anywhere"


@dataclass(frozen=True)
class Tile:
    """A shape that can be clicked."""

    name: str
    image: bytes | None
    """PNG, or None while it is being drawn."""
    button: str
    """Id of the button that a click presses."""
    note: str = ""
    selected: bool = False


def hide_buttons(ids: Sequence[str]) -> str:
    """Return a style that hides buttons, with the space around them."""
    return "<style>" + ",".join(f'div:has(>[id="{id}"])' for id in ids) + "{display:none}</style>"


def hide_number(id: str) -> str:
    """Return a style that hides a number without a label, with the space around it."""
    return f'<style>div:has(>div>div>div>div>[id="{id}"]){{display:none}}</style>'


def title(name: str, category: str) -> str:
    """Return the heading of the shape that is shown. Its height is fixed, so that the pad stays where it is."""
    kind = f'<span style="color:#778;font-weight:400"> {escape(category)}</span>' if category else ""
    return (
        f'<div class="latentsdf-title" title="{escape(name)}" style="margin:0.2em 0.75em 0.1em;height:2.6em;'
        f'font-weight:600;line-height:1.3;{_NAME}">{escape(name)}{kind}</div>'
    )


def status(number: int, resolution: int, mode: str, faces: int, seconds: float, fine: bool) -> str:
    """Return the line that describes the mesh that is shown, the `number`-th on this page."""
    text = f"{resolution}³, {mode}, {faces:,} faces, {1000 * seconds:,.0f} ms"
    return (
        f'<div class="latentsdf-status" data-fine="{int(fine)}" data-number="{number}" '
        f'style="margin:0 0.75em 0.5em;font-size:0.78em;'
        f'color:#778">{escape(text)}</div>'
    )


def tiles(items: Sequence[Tile], columns: int, empty: str = "No shape matches.") -> str:
    """Return a grid of tiles."""
    if not items:
        return message(empty)
    cells = "".join(_tile(item) for item in items)
    grid = f"display:grid;grid-template-columns:repeat({columns},minmax(0,1fr));gap:5px;margin:0 0.75em 0.5em"
    return f'<div style="{grid}">{cells}</div>'


def _tile(item: Tile) -> str:
    style = _TILE.format(border=_ACCENT if item.selected else "#e4e7ec")
    note = f'<span style="{_NAME};color:#777">{escape(item.note)}</span>' if item.note else ""
    name = escape(item.name)
    return (
        f'<label for="{item.button}" title="{name}" data-shape="{name}" style="{style}">{_image(item.image)}'
        f'<span style="{_NAME}">{name}</span>{note}</label>'
    )


def _image(png: bytes | None) -> str:
    style = "width:100%;aspect-ratio:1;display:block;object-fit:contain"
    if png is None:
        return f'<span style="{style};background:#f2f4f7;border-radius:4px"></span>'
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f'<img alt="" draggable="false" style="{style}" src="{source}">'


def pad(control: str, count: int, x: float, y: float, corners: Sequence[Tile]) -> str:
    """Return the pad on which one drags between two or four shapes.

    Args:
        control: Id of the number that receives the position: steps to the right + 10,000 steps down.
        count: 2 for a line, 4 for a square.
        x: Position of the handle from left (0) to right (1).
        y: Position from top (0) to bottom (1).
        corners: The shapes: top left, top right, bottom left, bottom right; or left and right.
    """
    height = "13em" if count == 4 else "6em"
    y = y if count == 4 else 0.5
    places = ("left:3px;top:3px", "right:3px;top:3px", "left:3px;bottom:3px", "right:3px;bottom:3px")
    images = "".join(
        f'<div style="position:absolute;{place};width:6em;pointer-events:none;text-align:center;font-size:0.72em">'
        f'{_image(tile.image)}<span style="{_LINE}">{escape(tile.name)}</span></div>'
        for place, tile in zip(places, corners, strict=False)
    )
    down = f"Math.round(Math.min(1,Math.max(0,(event.clientY-b.top)/b.height))*{PAD_STEPS})" if count == 4 else "0"
    move = (
        "if(!this.dataset.held)return;const b=this.getBoundingClientRect(),"
        f"x=Math.round(Math.min(1,Math.max(0,(event.clientX-b.left)/b.width))*{PAD_STEPS}),y={down},"
        f"h=this.lastElementChild,i=document.getElementById('{control}');"
        f"h.style.left=x/{PAD_STEPS}*100+'%';" + (f"h.style.top=y/{PAD_STEPS}*100+'%';" if count == 4 else "") +
        "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype,'value').set.call(i,String(x+10000*y));"
        "i.dispatchEvent(new Event('input',{bubbles:true}))"
    )  # fmt: skip
    handle = (
        f"position:absolute;left:{100 * x:.1f}%;top:{100 * y:.1f}%;width:18px;height:18px;margin:-9px 0 0 -9px;"
        f"border-radius:50%;background:{_ACCENT};border:2px solid #fff;box-shadow:0 1px 4px #0006;pointer-events:none"
    )
    return (
        f'<div class="latentsdf-pad" style="position:relative;height:{height};margin:0 0.75em 0.5em;border-radius:8px;'
        f'background:#f7f9fb;border:1px solid #d5dbe3;cursor:crosshair;touch-action:none;user-select:none;color:#222" '
        f'onpointerdown="this.setPointerCapture(event.pointerId);this.dataset.held=1;this.onpointermove(event)" '
        f'onpointerup="delete this.dataset.held" onpointercancel="delete this.dataset.held" '
        f'onpointermove="{escape(move)}">{images}<div style="{handle}"></div></div>'
    )


def pad_position(value: int) -> tuple[float, float]:
    """Return the position (x, y) on the pad, each 0 to 1, from the number that it wrote."""
    down, right = divmod(max(0, value), 10_000)
    return min(right, PAD_STEPS) / PAD_STEPS, min(down, PAD_STEPS) / PAD_STEPS


def drop_zone(upload: str) -> str:
    """Return the place to drop a file; `upload` is the id of the upload button that receives it."""
    field = f"file_upload_{upload}"
    drop = (
        "event.preventDefault();this.style.borderColor='';"
        f"const f=event.dataTransfer.files,i=document.getElementById('{field}');if(!f.length)return;"
        f"if(f[0].size>{MAX_BYTES}){{alert('This file is larger than {MAX_BYTES // 10**6} MB.');return}}"
        "i.files=f;i.dispatchEvent(new Event('change',{bubbles:true}))"
    )
    style = (
        "display:block;margin:0 0.75em 0.5em;padding:1.1em 0.6em;border:2px dashed #b6c2d1;border-radius:8px;"
        "text-align:center;cursor:pointer;font-size:0.85em;color:#445;background:#fafbfc"
    )
    kinds = " ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
    return (
        f'<label for="{field}" class="latentsdf-drop" style="{style}" ondragover="event.preventDefault();'
        f'this.style.borderColor=\'{_ACCENT}\'" ondragleave="this.style.borderColor=\'\'" ondrop="{escape(drop)}">'
        f"<b>Drop a mesh or point cloud here</b>, or click to choose one"
        f'<span style="display:block;font-size:0.85em;color:#889;margin-top:0.3em">{kinds}</span></label>'
    )


def message(text: str, *, kind: str = "info") -> str:
    """Return a sentence on the page; `kind` is `info`, `good`, `warning` or `error`."""
    colors = {"info": "#556", "good": "#1d6b3a", "warning": "#8a5a00", "error": "#a61b1b"}
    backgrounds = {"info": "transparent", "good": "#e9f7ef", "warning": "#fff6e0", "error": "#fdecec"}
    padding = "0" if kind == "info" else "0.4em 0.6em"
    return (
        f'<div class="latentsdf-{kind}" style="margin:0 0.75em 0.5em;padding:{padding};border-radius:6px;'
        f"font-size:0.85em;line-height:1.35;overflow-wrap:anywhere;color:{colors[kind]};"
        f'background:{backgrounds[kind]}">{escape(text)}</div>'
    )


def error_scale(largest: float) -> str:
    """Return the scale of the colors of errors."""
    return (
        f'<div style="margin:0 0.75em 0.5em;font-size:0.78em;color:#556">Distance of the fit to the target'
        f'<div style="height:0.7em;border-radius:3px;background:{color_scale()}"></div>'
        f'<div style="display:flex;justify-content:space-between"><span>0</span><span>{largest / 2:g}</span>'
        f"<span>{largest:g} and more</span></div></div>"
    )
