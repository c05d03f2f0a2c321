"""Animations: frames and durations of every format, and a missing encoder."""

import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from latentsdf.rendering.animation import require_encoder, save_animation
from latentsdf.rendering.render import render_mesh
from latentsdf.rendering.sheets import render_turntable
from latentsdf.utils.errors import ConfigError, MissingExtraError


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """A turntable of four images of an odd size."""
    box = trimesh.creation.box((1, 0.5, 0.2))
    return render_turntable(lambda azimuth: render_mesh(box, azimuth=azimuth, size=33, fit=False), 4)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".WEBP"])
def test_repeating_images(suffix: str, images: list[Image.Image], tmp_path: Path) -> None:
    """The file has every image, with the given duration, repeats, and nothing else is left."""
    path = tmp_path / f"turn{suffix}"
    save_animation(path, images, 50)
    with Image.open(path) as read:
        assert read.n_frames == 4 and read.info["loop"] == 0  # type: ignore[attr-defined]
        for number, image in enumerate(images):
            read.seek(number)
            read.load()
            assert read.info["duration"] == 50
            difference = abs(np.asarray(read.convert("RGB"), dtype=int) - np.asarray(image, dtype=int))
            assert difference.mean() < 4
    assert not np.array_equal(np.asarray(images[0]), np.asarray(images[1]))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_video(images: list[Image.Image], tmp_path: Path) -> None:
    """An MP4 has every image at its time; an odd size is padded."""
    av = pytest.importorskip("av")
    save_animation(tmp_path / "turn.mp4", images, 80)
    with av.open(str(tmp_path / "turn.mp4")) as file:
        frames = list(file.decode(video=0))
    assert [float(frame.time) for frame in frames] == pytest.approx([0, 0.08, 0.16, 0.24])
    for frame, image in zip(frames, images, strict=True):
        pixels = frame.to_ndarray(format="rgb24").astype(int)
        assert pixels.shape == (34, 34, 3)
        assert abs(pixels[:33, :33] - np.asarray(image, dtype=int)).mean() < 8
    assert [file.name for file in tmp_path.iterdir()] == ["turn.mp4"]


def test_missing_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyAV, the error names the extra; other suffixes are refused."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentsdf\[video\]'"):
        require_encoder(Path("a.mp4"))
    require_encoder(Path("a.webp"))
    with pytest.raises(ConfigError, match=r"\.gif, \.webp, \.mp4, got a\.avi"):
        require_encoder(Path("a.avi"))
