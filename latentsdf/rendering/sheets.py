"""Composition of rendered images: contact sheets with captions, comparison sheets and turntables."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import trimesh
from PIL import Image, ImageDraw, ImageFont

from latentsdf.geometry.mesh import normalize
from latentsdf.rendering.render import render_mesh
from latentsdf.utils.atomic_files import atomic_write
from latentsdf.utils.errors import ConfigError


def contact_sheet(
    rows: Sequence[Sequence[Image.Image]],
    *,
    captions: Sequence[Sequence[str]] = (),
) -> Image.Image:
    """Arrange images in a grid.

    Args:
        rows: Rows of images, all of the size of the first one; shorter rows leave white space at the right.
        captions: One text below each image, in the same arrangement; an empty row has no captions. A text that is
            too wide loses its beginning, because the ends of long ids differ.

    Returns:
        The sheet, in RGB.
    """
    width, height = rows[0][0].size
    font_size = max(12, height // 16)
    font = ImageFont.load_default(size=font_size)
    caption_height = int(1.6 * font_size) if captions else 0
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * width, len(rows) * (height + caption_height)), "white")
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        y = r * (height + caption_height)
        for c, image in enumerate(row):
            sheet.paste(image, (c * width, y))
            if captions and captions[r]:
                text = _truncate_start(captions[r][c], font, 0.95 * width)
                draw.text((c * width + width // 2, y + height), text, fill="black", font=font, anchor="ma")
    return sheet


def _truncate_start(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Replace the beginning of a text by an ellipsis until it is at most `width` pixels wide."""
    while len(text) > 1 and font.getlength(text) > width:
        text = "…" + text.lstrip("…")[1:]
    return text


def comparison_sheet(
    originals: Mapping[str, trimesh.Trimesh],
    reconstructions: Mapping[str, trimesh.Trimesh],
    *,
    size: int = 180,
    columns: int = 6,
) -> Image.Image:
    """Render originals and, in the row below each of them, their reconstructions.

    Args:
        originals: Meshes by name, in any frame; they are normalized for the image.
        reconstructions: Meshes by name, in model space. Originals without a reconstruction are left out.
        size: Pixels per side of each image.
        columns: Shapes per row.

    Returns:
        The sheet, with the names below the originals.
    """
    names = [name for name in originals if name in reconstructions]
    rows, captions = [], []
    for start in range(0, len(names), columns):
        in_row = names[start : start + columns]
        rows.append([render_mesh(normalize(originals[name])[0], size=size) for name in in_row])
        rows.append([render_mesh(reconstructions[name], size=size) for name in in_row])
        captions += [in_row, [""] * len(in_row)]
    return contact_sheet(rows, captions=captions)


def render_turntable(render: Callable[[float], Image.Image], frames: int) -> list[Image.Image]:
    """Render `frames` images at equally spaced azimuths of a full turn.

    Args:
        render: Function from an azimuth in degrees to an image.
        frames: Number of images, at least 2.

    Returns:
        The images, starting at azimuth 0.

    Raises:
        ConfigError: `frames` is less than 2.
    """
    if frames < 2:
        raise ConfigError(f"a turntable needs at least 2 frames, got {frames}")
    return [render(360 * i / frames) for i in range(frames)]


def save_png(path: Path, image: Image.Image) -> None:
    """Write a PNG atomically."""
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG")
