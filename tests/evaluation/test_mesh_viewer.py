"""Meshes to turn in an HTML page: stored geometry, colors, and the picture in a browser."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from latentsdf.evaluation.html_report import write_html
from latentsdf.evaluation.mesh_viewer import ShownMesh, html_meshes
from latentsdf.geometry.metrics.vertex_errors import error_colors

BALL = trimesh.creation.icosphere(3, 0.8)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _page() -> str:
    larger = trimesh.creation.icosphere(3, 0.82)
    return html_meshes({"a </script>": [ShownMesh("original", BALL), ShownMesh("fit", larger, BALL)]})


def _array(text: str, kind: str) -> Any:
    return np.frombuffer(base64.b64decode(text), kind).reshape(-1, 3)


def test_stored_geometry() -> None:
    """Positions, faces and colors are read back from the page; names cannot end the script."""
    page = _page()
    assert page.count("</script>") == 2 and "http" not in page
    scenes = json.loads(re.findall(r"application/json'>(.*?)</script>", page, re.DOTALL)[0])
    (scene,) = scenes
    original, fit = scene["meshes"]
    assert scene["name"] == "a </script>" and (original["errors"], fit["errors"]) == (False, True)
    positions = _array(original["positions"], "<i2") / 32767
    np.testing.assert_allclose(positions, BALL.vertices, atol=2e-5)
    np.testing.assert_array_equal(_array(original["indices"], "<u4"), BALL.faces)
    expected = error_colors(np.full(len(BALL.vertices), 0.02))[:, :3].astype(int)
    assert np.abs(_array(fit["colors"], "u1").astype(int) - expected).max() < 30


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to draw the page")
def test_picture_in_browser(tmp_path: Path) -> None:
    """A headless browser draws both meshes: a gray ball, and one in the color of its error."""
    write_html(tmp_path / "page.html", "meshes", [("To turn", _page())])
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--enable-unsafe-swiftshader", "--window-size=1000,800"]
    flags += ["--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}", "--disable-dev-shm-usage"]
    shot = tmp_path / "shot.png"
    command = [str(BROWSER), *flags, f"--screenshot={shot}", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert shot.is_file(), done.stderr
    pixels = np.asarray(Image.open(shot).convert("RGB"), dtype=int)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    is_gray_blue = (blue > red + 15) & (blue > green) & (blue < 250)
    is_red = (red > green + 40) & (red > blue + 30)
    for shown in (is_gray_blue, is_red):
        assert shown.sum() > 5_000
    assert np.nonzero(is_gray_blue)[1].mean() < 500 < np.nonzero(is_red)[1].mean()
