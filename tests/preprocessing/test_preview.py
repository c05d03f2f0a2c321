"""Tests of previews with a sphere, since its signed distance is known at every pixel."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from latentsdf.data.records import ShapeRecord
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.geometry.similarity import Similarity
from latentsdf.rendering.level_sets import Axis
from preprocessing import preview, shape

RADIUS = 0.6
SIZE = preview.PANEL


def _ball(center: tuple[float, float, float] = (0.0, 0.0, 0.0), radius: float = RADIUS) -> SdfSamples:
    """Samples of a sphere by its formula: 64 cells, a band of 3 cells, 5000 near and surface samples."""
    axis = np.linspace(-1, 1, 65)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    distance = np.linalg.norm(lattice - center, axis=-1) - radius
    index = np.flatnonzero(np.abs(distance) <= 3 * 2 / 64)
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(5000, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    surface = np.column_stack([center + radius * normal, normal]).astype(np.float32)
    offset = rng.normal(scale=0.05, size=(5000, 1))
    near = np.column_stack([center + (radius + offset) * normal, offset]).astype(np.float32)
    return SdfSamples(
        resolution=64,
        band_voxels=3.0,
        band_index=index.astype(np.uint32),
        band_distance=distance.ravel()[index].astype(np.float32),
        sparse_resolution=64,
        sparse_distance=distance.astype(np.float32),
        near=near,
        uniform=near[:0],
        surface=surface,
        sign=SignReport("pseudonormal", 0.5),
    )


def _record(samples: SdfSamples, name: str = "ball") -> ShapeRecord:
    """Record with the given samples."""
    return ShapeRecord(
        category="round",
        id=name,
        samples=samples,
        similarity=Similarity((0.0, 0.0, 0.0), 1.0),
        source="ball.obj",
        source_sha256="0",
        watertight=True,
        area=4 * np.pi * RADIUS**2,
        seed=0,
    )


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def _positions() -> tuple[np.ndarray, np.ndarray]:
    """Model coordinates (SIZE, SIZE), to the right and upward, of the pixels of a panel."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    right, down = np.meshgrid(axis, axis)
    return right, -down


@pytest.mark.parametrize("axis", get_args(Axis))
def test_slice_of_sphere(axis: Axis) -> None:
    """Colors, level lines, band and surface of a slice agree with the distance at every pixel."""
    image = _pixels(preview.slice_image(_ball(), axis, 32))
    distance = np.hypot(*_positions()) - RADIUS
    line = image.sum(2) == 0
    assert np.abs(distance[line]).max() < 0.01 and binary_dilation(line)[np.abs(distance) < 0.003].all()
    level = (image == 140).all(2)
    between = (np.abs(distance[level]) + 0.05) % 0.1 - 0.05
    assert np.abs(between).max() < 0.01 and {-5, 3} <= set((distance[level] * 10).round())
    assert ((image[..., 2] > image[..., 0]) == (distance < 0))[~line & ~level].all()
    width = 3 * 2 / 64
    for side in (1, -1):
        within, beyond = (
            image[(np.abs(side * distance - width - further) < 0.003) & ~level] for further in (-0.01, 0.01)
        )
        assert within[:, 1].max() < beyond[:, 1].min()  # the red tint reduces green


@pytest.mark.parametrize("axis", get_args(Axis))
def test_slice_orientation(axis: Axis) -> None:
    """Slices are oriented as captioned. x: z right, y up. y: x right, z down. z: x right, y up."""
    center = (0.2, 0.3, -0.1)
    samples = _ball(center, 0.3)
    cut = preview.center_vertex(samples)
    assert np.abs(cut * 2 / 64 - 1 - center).max() <= 2 / 64
    image = _pixels(preview.slice_image(samples, axis, int(cut["xyz".index(axis)])))
    right, up = _positions()
    inside = image[..., 2] > image[..., 0]
    expected = {"x": (-0.1, 0.3), "y": (0.2, 0.1), "z": (0.2, 0.3)}[axis]
    assert (right[inside].mean(), up[inside].mean()) == pytest.approx(expected, abs=0.02)


def test_near_samples() -> None:
    """Near samples are blue inside and orange outside, and inside samples are drawn on top."""
    near = _ball().near
    for sign, brighter in ((-1, 2), (1, 0)):
        image = _pixels(preview.near_image(np.column_stack([near[:, :3], np.full(len(near), sign * 0.1)])))
        drawn = image.sum(2) < 700
        assert drawn.mean() > 0.05 and (image[drawn].argmax(1) == brighter).all()
    twice = np.concatenate([near, near])
    twice[:, 3] = np.repeat([-0.1, 0.1], len(near))
    image = _pixels(preview.near_image(twice))
    assert (image[image.sum(2) < 700].argmax(1) == 2).all()


@pytest.mark.slow
def test_surface_shading() -> None:
    """The surface has no holes, is lit from the upper left, and is red where normals are flipped."""
    surface = _ball().surface
    area = 4 * np.pi * RADIUS**2
    image = _pixels(preview.surface_image(surface, area))
    right, up = _positions()
    disc = np.hypot(right, up) < 0.9 * RADIUS
    assert (image[disc].sum(1) < 750).mean() > 0.999 and (image[np.hypot(right, up) > RADIUS + 0.1] == 255).all()
    assert (image[disc][:, 2] > image[disc][:, 0]).mean() > 0.99
    lit, dark = (image[disc & (side * (up - right) > 0.5)].mean() for side in (1, -1))
    assert lit > 1.3 * dark
    surface[:, 3:] *= -1
    turned = _pixels(preview.surface_image(surface, area))[disc]
    assert (turned[:, 0] > turned[:, 2] + 50).mean() > 0.95


@pytest.mark.slow
def test_incomplete_records(tmp_path: Path) -> None:
    """Previews can be drawn without samples, with a coarse lattice and with any name."""
    whole = _ball()
    coarse = replace(whole, sparse_resolution=1, sparse_distance=np.full((2, 2, 2), 0.9, np.float32))
    for samples in (whole, coarse, replace(whole, near=whole.near[:0], surface=whole.surface[:0])):
        for name in ("ball", "größe " + 300 * "x"):
            preview.draw(_record(samples, name)).save(tmp_path / "p.png")
            with Image.open(tmp_path / "p.png") as image:
                assert image.size[0] > 3 * SIZE and image.size[1] > 2 * SIZE


def test_title(monkeypatch: pytest.MonkeyPatch) -> None:
    """Title and captions contain key, sign method, confidence, lattice and band."""
    written: list[str] = []
    monkeypatch.setattr(preview.ImageDraw.ImageDraw, "text", lambda _, __, text, **___: written.append(text))
    preview.draw(_record(_ball()))
    for fact in ("round/ball", "sign: pseudonormal, confidence 0.500", "lattice 64 cells", "band ±3 cells", "closed"):
        assert any(fact in text for text in written), fact


def test_thin_share_of_sphere() -> None:
    """A solid sphere is not thin, a shell without interior is; without surface samples the share is 0."""
    ball = _ball()
    assert shape.thin_share(ball) == 0
    sheet = replace(ball, band_distance=np.abs(ball.band_distance))
    assert shape.thin_share(sheet) == 1
    assert shape.thin_share(replace(ball, surface=ball.surface[:0])) == 0
