"""Preview image of a sampled shape: three slices of its signed distance, and its near and surface samples.

Drawn with NumPy and Pillow, so that a worker imports neither torch nor OpenGL. y is up, blue is inside, orange is
outside, and lengths are in model space. Names are converted to ASCII for the built-in font of Pillow.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from latentsdf.data.records import ShapeRecord
from latentsdf.geometry.lattice import band_width, from_lattice_units, to_lattice_units
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.rendering.camera import DEFAULT_AZIMUTH, DEFAULT_ELEVATION, Camera
from latentsdf.rendering.level_sets import BAND_COLOR, Axis, distance_colors, draw_level_sets, slice_points

PANEL = 360
"""Width and height of a panel in pixels; the image has two rows of three panels."""
INSIDE = (33, 92, 168)
OUTSIDE = (216, 112, 40)
_BACKFACING = np.array([200.0, 30.0, 60.0])  # color of surface points with a normal away from the viewer
_MAX_DISTANCE = 0.5  # of the color bar
_LEVEL_SPACING = 0.1
_SUPERSAMPLING = 2
_MARGIN, _TITLE, _LINE = 12, 64, 22  # pixels
_MAX_NEAR = 30_000  # near samples that are drawn
_CAMERA = Camera.orbit(DEFAULT_AZIMUTH, DEFAULT_ELEVATION, np.zeros(3), 1.0)  # shows [-1, 1]^2 around the origin
_ORIENTATION: dict[Axis, str] = {"x": "right: z    up: y", "y": "right: x    down: z", "z": "right: x    up: y"}

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


def draw(record: ShapeRecord) -> Image.Image:
    """Draw the preview: slices in the first row; near samples, surface samples and the legend in the second."""
    samples = record.samples
    width, height = 3 * PANEL + 4 * _MARGIN, _TITLE + 2 * (PANEL + _LINE + _MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    _title(pen, record, width)
    center = center_vertex(samples)
    panels = [slice_image(samples, axis, int(vertex)) for axis, vertex in zip(_ORIENTATION, center, strict=True)]
    position = from_lattice_units(center, samples.sparse_resolution)
    captions = [
        f"{axis} = {at:+.2f}    {orientation}"
        for (axis, orientation), at in zip(_ORIENTATION.items(), position, strict=True)
    ]
    panels += [near_image(samples.near), surface_image(samples.surface, record.area)]
    captions += [f"near samples: {len(samples.near):,}", f"surface samples: {len(samples.surface):,}, shaded by normal"]
    for number, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        x = _MARGIN + number % 3 * (PANEL + _MARGIN)
        y = _TITLE + number // 3 * (PANEL + _LINE + _MARGIN)
        sheet.paste(panel, (x, y))
        pen.rectangle((x, y, x + PANEL - 1, y + PANEL - 1), outline=(200, 200, 200))
        pen.text((x + PANEL // 2, y + PANEL + 3), caption, fill="black", font=_font(15), anchor="ma")
    _legend(pen, record, 3 * _MARGIN + 2 * PANEL, _TITLE + PANEL + _LINE + _MARGIN)
    return sheet


def center_vertex(samples: SdfSamples) -> NDArray[np.int64]:
    """Sparse lattice vertex (3,) at the center of the shape's bounding box, or of the lattice if there is no surface.

    The bounding box is accurate to one cell.
    """
    resolution = samples.sparse_resolution
    near_surface = np.argwhere(np.abs(samples.sparse_distance) <= 2 / resolution)
    return (near_surface.min(0) + near_surface.max(0)) // 2 if len(near_surface) else np.full(3, resolution // 2)


def slice_image(samples: SdfSamples, axis: Axis, vertex: int, size: int = PANEL) -> Image.Image:
    """Draw a slice of the sparse lattice, linearly interpolated.

    Args:
        samples: Samples of the shape.
        axis: Axis perpendicular to the slice.
        vertex: Lattice coordinate of the slice along `axis`.
        size: Width and height in pixels.
    """
    resolution = samples.sparse_resolution
    points = slice_points(axis, vertex * (2 / resolution) - 1, size)
    distance = map_coordinates(samples.sparse_distance, to_lattice_units(points.T, resolution), order=1, mode="nearest")
    distance = distance.astype(np.float64).reshape(size, size)
    return draw_level_sets(
        distance, _LEVEL_SPACING, np.abs(distance) <= band_width(samples.resolution, samples.band_voxels)
    )


def near_image(near: NDArray[np.float32], size: int = PANEL) -> Image.Image:
    """Draw near samples (M, 4) as points: pale outside samples, then inside samples on top, darker with depth."""
    near = near[:: -(-len(near) // _MAX_NEAR) or 1]
    column, row, depth = _CAMERA.project(near[:, :3].astype(np.float64), size * _SUPERSAMPLING)
    inside = near[:, 3] < 0
    light = np.where(inside, 0.75 + 0.25 * _normalize_nearness(-depth), 0.0)[:, None]
    color = np.where(inside[:, None], np.array(INSIDE) * light, np.array(OUTSIDE) * 0.4 + 255 * 0.6)
    return _splat(column, row, np.where(inside, 10 - depth, -depth), color, size, side=3)


def surface_image(surface: NDArray[np.float32], area: float, size: int = PANEL) -> Image.Image:
    """Draw surface samples (M, 6) as an opaque surface, shaded by their normals; red if a normal points away.

    Args:
        surface: Points and unit normals.
        area: Surface area, which determines the splat size.
        size: Width and height in pixels.
    """
    column, row, depth = _CAMERA.project(surface[:, :3].astype(np.float64), size * _SUPERSAMPLING)
    back = -_CAMERA.forward
    normal = surface[:, 3:].astype(np.float64)
    key = back + 0.6 * _CAMERA.up - 0.5 * _CAMERA.right
    light = 0.3 + 0.5 * (normal @ (key / np.linalg.norm(key))).clip(0, 1) + 0.2 * (0.5 + 0.5 * normal[:, 1])
    backfacing = normal @ back < 0
    color = np.where(backfacing[:, None], _BACKFACING, np.array([176.0, 209, 248]) * light[:, None]).clip(0, 255)
    # Splats three times as wide as the sample spacing leave few holes.
    spacing = np.sqrt(area / max(len(surface), 1)) * size * _SUPERSAMPLING / 2
    side = int(np.clip(np.ceil(3 * spacing), 2, 40))
    # Splats of the far side are moved back; otherwise they would cover the near side along silhouettes.
    return _splat(column, row, -depth - backfacing * (2 * side / (size * _SUPERSAMPLING)), color, size, side)


def _normalize_nearness(nearness: Floats) -> Floats:
    """Scale negative depths (N,) to [0, 1], 1 for the nearest point."""
    low, high = (nearness.min(), nearness.max()) if len(nearness) else (0.0, 1.0)
    return np.asarray((nearness - low) / max(high - low, 1e-9))


def _splat(
    column: NDArray[np.int64], row: NDArray[np.int64], nearness: Floats, color: Floats, size: int, side: int
) -> Image.Image:
    """Draw squares of `side` supersampled pixels on white, in ascending order of nearness."""
    fine = size * _SUPERSAMPLING
    order = np.argsort(nearness, kind="stable")
    offset = np.arange(side) - side // 2
    shape = (len(order), side, side)
    rows = np.broadcast_to(row[order, None, None] + offset[:, None], shape).ravel()
    columns = np.broadcast_to(column[order, None, None] + offset, shape).ravel()
    visible = (rows >= 0) & (rows < fine) & (columns >= 0) & (columns < fine)
    pixels = np.full((fine * fine, 3), 255, np.uint8)
    values = np.repeat(color[order].round().astype(np.uint8), side * side, axis=0)
    pixels[rows[visible] * fine + columns[visible]] = values[visible]
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
    bar = (255 * distance_colors(np.linspace(-_MAX_DISTANCE, _MAX_DISTANCE, PANEL - 40))).round().astype(int)
    for x, color in enumerate(bar):
        pen.line((left + 20 + x, top + line, left + 20 + x, top + line + 18), fill=tuple(color))
    pen.text((left + PANEL // 2, top), "signed distance", fill="black", font=font, anchor="ma")
    for value in (-_MAX_DISTANCE, 0.0, _MAX_DISTANCE):
        tick = left + 20 + (value + _MAX_DISTANCE) / (2 * _MAX_DISTANCE) * (PANEL - 41)
        pen.text((tick, top + line + 22), f"{value:+.1f}" if value else "0", fill="black", font=font, anchor="ma")
    width = band_width(samples.resolution, samples.band_voxels)
    items = [
        (tuple((255 * np.array(BAND_COLOR)).astype(int)), f"red tint: the band, ±{width:.4f}"),
        ((0, 0, 0), f"zero level set of the sparse lattice; gray: every {_LEVEL_SPACING:g}"),
        (INSIDE, "near samples inside, drawn on top"),
        (tuple((np.array(OUTSIDE) * 0.4 + 153).astype(int)), "near samples outside"),
        (tuple(_BACKFACING.astype(int)), "surface: normal points away from the viewer"),
    ]
    for number, (color, text) in enumerate(items):
        y = top + 90 + number * line
        pen.rectangle((left + 20, y + 3, left + 34, y + 17), fill=color, outline=(120, 120, 120))
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
