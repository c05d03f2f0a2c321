"""One picture of what the store got for a shape: slices of its signed distance, and its samples.

Drawn from the record alone with NumPy and Pillow, so a worker loads neither torch nor OpenGL. y is up; blue is inside,
orange outside; lengths in model space. Pillow's own font knows ASCII only.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from latentsdf.data.records import ShapeRecord
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples, band_width
from latentsdf.rendering.level_sets import BAND_COLOR, Axis, distance_colors, draw_level_sets, slice_points

PANEL = 360
"""Pixels of a square panel; three in each of two rows."""
INSIDE = (33, 92, 168)
OUTSIDE = (216, 112, 40)
_AWAY = np.array([200.0, 30.0, 60.0])  # surface points whose normal looks away from the viewer
_LIMIT = 0.5  # of the legend's distances
_SPACING = 0.1  # of the level lines
_FINE = 2  # supersampling
_MARGIN, _TITLE, _LINE = 12, 64, 22
_MOST_NEAR = 30_000
_AZIMUTH, _ELEVATION = np.radians(35.0), np.radians(20.0)
_TURNED: dict[Axis, str] = {"x": "right: z    up: y", "y": "right: x    down: z", "z": "right: x    up: y"}

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


def draw(record: ShapeRecord) -> Image.Image:
    """The preview: three slices above; near samples, surface samples and the legend below."""
    samples = record.samples
    width, height = 3 * PANEL + 4 * _MARGIN, _TITLE + 2 * (PANEL + _LINE + _MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    _title(pen, record, width)
    cut = middle(samples)
    panels = [slice_image(samples, axis, int(vertex)) for axis, vertex in zip(_TURNED, cut, strict=True)]
    position = cut * (2 / samples.sparse_resolution) - 1
    captions = [f"{axis} = {at:+.2f}    {turned}" for (axis, turned), at in zip(_TURNED.items(), position, strict=True)]
    panels += [near_image(samples.near), surface_image(samples.surface, record.area)]
    captions += [f"near samples: {len(samples.near):,}", f"surface samples: {len(samples.surface):,}, by their normals"]
    for number, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        x = _MARGIN + number % 3 * (PANEL + _MARGIN)
        y = _TITLE + number // 3 * (PANEL + _LINE + _MARGIN)
        sheet.paste(panel, (x, y))
        pen.rectangle((x, y, x + PANEL - 1, y + PANEL - 1), outline=(200, 200, 200))
        pen.text((x + PANEL // 2, y + PANEL + 3), caption, fill="black", font=_font(15), anchor="ma")
    _legend(pen, record, 3 * _MARGIN + 2 * PANEL, _TITLE + PANEL + _LINE + _MARGIN)
    return sheet


def middle(samples: SdfSamples) -> NDArray[np.int64]:
    """Sparse vertex (3,) in the middle of the shape's bounding box, exact to a cell; the box's own without surface."""
    resolution = samples.sparse_resolution
    at = np.argwhere(np.abs(samples.sparse_distance) <= 2 / resolution)
    return (at.min(0) + at.max(0)) // 2 if len(at) else np.full(3, resolution // 2)


def slice_image(samples: SdfSamples, axis: Axis, vertex: int, size: int = PANEL) -> Image.Image:
    """The whole box at one sparse plane as `levels` draws it, the lattice's distances interpolated between vertices."""
    resolution = samples.sparse_resolution
    points = slice_points(axis, vertex * (2 / resolution) - 1, size)
    distance = map_coordinates(samples.sparse_distance, (points.T + 1) * (resolution / 2), order=1, mode="nearest")
    distance = distance.astype(np.float64).reshape(size, size)
    return draw_level_sets(distance, _SPACING, np.abs(distance) <= band_width(samples.resolution, samples.band_voxels))


def near_image(near: NDArray[np.float32], size: int = PANEL) -> Image.Image:
    """Near samples (M, 4) as points: those outside pale, those inside over them, darker when farther away."""
    near = near[:: -(-len(near) // _MOST_NEAR) or 1]
    column, row, depth = _project(near[:, :3].astype(np.float64), size * _FINE)
    inside = near[:, 3] < 0
    light = np.where(inside, 0.75 + 0.25 * _rank(depth), 0.0)[:, None]
    colour = np.where(inside[:, None], np.array(INSIDE) * light, np.array(OUTSIDE) * 0.4 + 255 * 0.6)
    return _splat(column, row, np.where(inside, depth + 10, depth), colour, size, side=3)


def surface_image(surface: NDArray[np.float32], area: float, size: int = PANEL) -> Image.Image:
    """Surface samples (M, 6) as an opaque surface, lit by their normals; red where these look away from the viewer."""
    column, row, depth = _project(surface[:, :3].astype(np.float64), size * _FINE)
    right, up, back = _axes()
    normal = surface[:, 3:].astype(np.float64)
    key = back + 0.6 * up - 0.5 * right
    light = 0.3 + 0.5 * (normal @ (key / np.linalg.norm(key))).clip(0, 1) + 0.2 * (0.5 + 0.5 * normal[:, 1])
    away = normal @ back < 0
    colour = np.where(away[:, None], _AWAY, np.array([176.0, 209, 248]) * light[:, None]).clip(0, 255)
    # Splats this much wider than the sample spacing leave few holes to look through.
    spacing = np.sqrt(area / max(len(surface), 1)) * size * _FINE / 2
    side = int(np.clip(np.ceil(3 * spacing), 2, 40))
    # Along outlines the splats of the far side would stand out in front of the near side.
    return _splat(column, row, depth - away * (2 * side / (size * _FINE)), colour, size, side)


def _axes() -> tuple[Floats, Floats, Floats]:
    """Unit right, up and towards the viewer, as `latentsdf.rendering.render` looks at things."""
    a, e = _AZIMUTH, _ELEVATION
    back = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    return right, np.cross(back, right), back


def _project(points: Floats, fine: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Pixel column and row (N,) in an image of `fine` pixels that spans [-1, 1], and nearness (N,)."""
    right, up, back = _axes()
    column = np.floor((points @ right + 1) * fine / 2).astype(np.int64)
    row = np.floor((1 - points @ up) * fine / 2).astype(np.int64)
    return column, row, points @ back


def _rank(depth: Floats) -> Floats:
    """(N,) in 0 to 1, 1 for the nearest."""
    low, high = (depth.min(), depth.max()) if len(depth) else (0.0, 1.0)
    return np.asarray((depth - low) / max(high - low, 1e-9))


def _splat(
    column: NDArray[np.int64], row: NDArray[np.int64], depth: Floats, colour: Floats, size: int, side: int
) -> Image.Image:
    """Squares of `side` fine pixels on white, the nearest drawn last."""
    fine = size * _FINE
    order = np.argsort(depth, kind="stable")
    offset = np.arange(side) - side // 2
    shape = (len(order), side, side)
    rows = np.broadcast_to(row[order, None, None] + offset[:, None], shape).ravel()
    columns = np.broadcast_to(column[order, None, None] + offset, shape).ravel()
    seen = (rows >= 0) & (rows < fine) & (columns >= 0) & (columns < fine)
    pixels = np.full((fine * fine, 3), 255, np.uint8)
    values = np.repeat(colour[order].round().astype(np.uint8), side * side, axis=0)
    pixels[rows[seen] * fine + columns[seen]] = values[seen]
    return Image.fromarray(pixels.reshape(fine, fine, 3)).resize((size, size), Image.Resampling.BOX)


def _title(pen: ImageDraw.ImageDraw, record: ShapeRecord, width: int) -> None:
    samples = record.samples
    name = record.key.encode("ascii", "replace").decode()
    size = next((s for s in range(26, 13, -1) if _font(s).getlength(name) <= width - 2 * _MARGIN), 13)
    pen.text((_MARGIN, 6), name, fill="black", font=_font(size))
    facts = (
        f"sign: {samples.sign.method}, confidence {samples.sign.confidence:.3f}  ·  "
        f"{'closed' if record.watertight else 'open'}  ·  lattice {samples.resolution} cells per axis, "
        f"band ±{samples.band_voxels:g} cells  ·  sparse lattice {samples.sparse_resolution}"
    )
    pen.text((_MARGIN, 38), facts, fill=(70, 70, 70), font=_font(16))


def _legend(pen: ImageDraw.ImageDraw, record: ShapeRecord, left: int, top: int) -> None:
    samples, font, line = record.samples, _font(15), 26
    bar = (255 * distance_colors(np.linspace(-_LIMIT, _LIMIT, PANEL - 40))).round().astype(int)
    for x, colour in enumerate(bar):
        pen.line((left + 20 + x, top + line, left + 20 + x, top + line + 18), fill=tuple(colour))
    pen.text((left + PANEL // 2, top), "signed distance", fill="black", font=font, anchor="ma")
    for value in (-_LIMIT, 0.0, _LIMIT):
        tick = left + 20 + (value + _LIMIT) / (2 * _LIMIT) * (PANEL - 41)
        pen.text((tick, top + line + 22), f"{value:+.1f}" if value else "0", fill="black", font=font, anchor="ma")
    width = band_width(samples.resolution, samples.band_voxels)
    items = [
        (tuple((255 * np.array(BAND_COLOR)).astype(int)), f"tinged red: the band, ±{width:.4f}"),
        ((0, 0, 0), f"zero set of the sparse lattice; grey: every {_SPACING:g}"),
        (INSIDE, "near samples inside, drawn over"),
        (tuple((np.array(OUTSIDE) * 0.4 + 153).astype(int)), "those outside"),
        (tuple(_AWAY.astype(int)), "surface: normal looks away from the viewer"),
    ]
    for number, (colour, text) in enumerate(items):
        y = top + 90 + number * line
        pen.rectangle((left + 20, y + 3, left + 34, y + 17), fill=colour, outline=(120, 120, 120))
        pen.text((left + 44, y), text, fill="black", font=font)
    inside = f"{(samples.near[:, 3] < 0).mean():.1%}" if len(samples.near) else "-"
    facts = [
        f"{len(samples.band_index):,} band samples",
        f"inside: {inside} of near, {(samples.sparse_distance < 0).mean():.2%} of the box",
        f"deepest inside: {max(0.0, -float(samples.sparse_distance.min())):.3f}",
        f"area: {record.area:.3f}, {samples.sign.sheet:.1%} of it sheets",
        f"source: {record.source.encode('ascii', 'replace').decode()[:40]}",
    ]
    for number, text in enumerate(facts):
        pen.text((left + 20, top + 90 + (len(items) + 0.6 + number) * line), text, fill=(70, 70, 70), font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
