"""Arrangement of images in sheets and animations."""

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageFont

from latentsdf.rendering.sheets import _truncate_start, comparison_sheet, contact_sheet, render_turntable
from latentsdf.utils.errors import ConfigError


def _plain(color: str) -> Image.Image:
    return Image.new("RGB", (40, 30), color)


def test_image_order_on_contact_sheet() -> None:
    """Each image fills its cell, and a short row leaves white space at the right."""
    sheet = np.asarray(contact_sheet([[_plain("red"), _plain("lime")], [_plain("blue")]]))
    assert sheet.shape == (60, 80, 3)
    for row, column, color in ((0, 0, (255, 0, 0)), (0, 1, (0, 255, 0)), (1, 0, (0, 0, 255)), (1, 1, (255, 255, 255))):
        assert (sheet[30 * row : 30 * row + 30, 40 * column : 40 * column + 40] == color).all()


def test_position_of_captions() -> None:
    """A row with captions has dark pixels in its caption strip; a row with an empty caption list has none."""
    sheet = np.asarray(contact_sheet([[_plain("red")], [_plain("red")]], captions=[["name"], []]).convert("L"))
    strip = int(1.6 * 12)
    assert sheet.shape == (2 * (30 + strip), 40)
    assert sheet[30 : 30 + strip].min() < 100
    assert sheet[60 + strip :].min() == 255


def test_truncation_of_long_captions() -> None:
    """A truncated caption fits, starts with an ellipsis and ends like the original."""
    font = ImageFont.load_default(size=12)
    text = _truncate_start("chair/1006be65e7bc937e9141f9b58470d646", font, 80)
    assert font.getlength(text) <= 80 and text.startswith("…") and text.endswith("0d646")
    assert _truncate_start("chair", font, 80) == "chair"


def test_rows_of_comparison_sheet() -> None:
    """Equal shapes in different frames give equal images; an original without a reconstruction is left out."""
    box = trimesh.creation.box((1, 0.5, 0.2))
    moved = box.copy().apply_scale(7).apply_translation((3, 2, 1))
    sheet = np.asarray(comparison_sheet({"a": moved, "b": box, "c": box}, {"a": box, "c": box}, size=64, columns=2))
    height = 64 + int(1.6 * 12)
    assert sheet.shape == (2 * height, 128, 3)
    above, below = sheet[:64].astype(int), sheet[height : height + 64].astype(int)
    assert (above != 255).any() and (np.abs(above - below).max(-1) > 8).mean() < 0.02


def test_turntable_azimuths() -> None:
    """The frames cover one turn without repeating its start, and a single frame is refused."""
    azimuths: list[float] = []
    render_turntable(lambda azimuth: azimuths.append(azimuth) or _plain("red"), 5)  # type: ignore[func-returns-value]
    assert azimuths == [0, 72, 144, 216, 288]
    with pytest.raises(ConfigError, match="at least 2 frames, got 1"):
        render_turntable(lambda _: _plain("red"), 1)
