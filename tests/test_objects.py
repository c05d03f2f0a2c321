"""Objects in scripts and notebooks: spaces as collections, short descriptions, images, viewer, and saved copies."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from helpers.fields import sphere

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.data.store import SampleStore
from latentsdf.geometry.similarity import Similarity
from latentsdf.space import ShapeSpace


def test_space_as_collection(space: ShapeSpace) -> None:
    """A space has a length, yields its ids, knows them with and without category, and returns their codes."""
    assert len(space) == 4 and list(space) == space.ids
    assert "table_0001" in space and "table/table_0001" in space
    assert "chair" not in space and 1 not in space and np.zeros(8) not in space
    code = space["table/table_0001"]
    np.testing.assert_array_equal(np.asarray(code), space.codes[1].numpy())
    assert code.similarity == space.similarity("table_0001") and code.space == space.fingerprint
    with pytest.raises(ls.ConfigError, match="no training shape 'table_9'"):
        space["table_9"]


@pytest.fixture
def objects(space: ShapeSpace, store_path: Path) -> dict[str, object]:
    """One object of each class with a notebook description, by class; with a text that must be escaped."""
    fit = ls.Inversion(space.code("table_0000").numpy(), np.zeros(1), 0.001, Similarity((0.0, 0.0, 0.0), 2.0))
    field = ls.Reconstruction(torch.nn.Linear(3, 1), fit.similarity, ReconstructConfig())
    references = {"table_0000": trimesh.creation.icosphere(2), "<b>": trimesh.Trimesh()}
    evaluation, _ = ls.evaluate(space, references, resolution=16, points=100, field_points=0, mode="general")
    store = SampleStore(Path("<script>") / store_path.name, SampleStore.open(store_path).config)
    return {
        "ShapeSpace": space,
        "Inversion": fit,
        "Reconstruction": field,
        "Evaluation": evaluation,
        "SampleStore": store,
    }


def test_descriptions(objects: dict[str, object]) -> None:
    """Descriptions are short, name the class and its size, and contain no markup of the data."""
    for name, one in objects.items():
        text, html = repr(one), one._repr_html_()  # type: ignore[attr-defined]
        assert text.startswith(f"<{name}: ") and len(text) < 400 and "\n" not in text
        assert f"<b>{name}</b>" in html and len(html) < 2000
        assert "<script>" not in html
    assert "shapes 4, code length 8" in repr(objects["ShapeSpace"])
    assert "residual 0.001, ok True" in repr(objects["Inversion"])
    assert "&lt;script&gt;" in objects["SampleStore"]._repr_html_()  # type: ignore[attr-defined]
    assert "failed 1" in repr(objects["Evaluation"])


@pytest.mark.slow
def test_saved_copy(space: ShapeSpace, tmp_path: Path) -> None:
    """A saved copy has the same fingerprint, meshes and normalization, and the command reads it."""
    space.save(tmp_path / "copy")
    copy = ls.load(tmp_path / "copy", "cpu")
    assert copy.fingerprint == space.fingerprint and copy.normalization == space.normalization
    mesh = space.extract("table_0002", 32)
    assert np.array_equal(copy.extract("table_0002", 32).vertices, mesh.vertices)
    words = ["extract", str(tmp_path / "copy"), "--id", "table_0002", "--resolution", "32", "--device", "cpu"]
    assert cli.main([*words, "--out", str(tmp_path / "a.ply")]) == 0
    with pytest.raises(ls.ConfigError, match="is the folder of this space"):
        copy.save(tmp_path / "copy")
    (tmp_path / "fit").mkdir()
    np.save(tmp_path / "fit" / "code.npy", np.zeros(8))
    with pytest.raises(ls.CheckpointError, match="holds the fit of a shape"):
        space.save(tmp_path / "fit")


@pytest.mark.slow
def test_image_of_shape(space: ShapeSpace, space_path: Path, tmp_path: Path) -> None:
    """`render` draws what the command draws."""
    from PIL import Image

    out = tmp_path / "a.png"
    words = ["render", str(space_path), "--id", "table_0000", "--size", "48", "--style", "normals", "--out", str(out)]
    assert cli.main([*words, "--device", "cpu"]) == 0
    image = space.render("table_0000", size=48, style="normals", azimuth=35, elevation=20)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(out)))


def test_viewer(space: ShapeSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The viewer gets the mesh in the frame of the shape, and its widget is returned."""
    shown: list[trimesh.Scene] = []
    monkeypatch.setattr(trimesh.Scene, "show", lambda scene: shown.append(scene) or "widget")
    assert space.show("table_0000", 16, "general") == "widget"
    np.testing.assert_allclose(shown[0].bounds, space.extract("table_0000", 16, "general").bounds)


@pytest.mark.slow
def test_images_of_any_shape() -> None:
    """Meshes, functions and combined fields are rendered alike."""
    images = [np.asarray(ls.render(one, size=32), dtype=float) for one in (sphere, ls.offset(sphere, 0.0))]
    np.testing.assert_array_equal(*images)
    assert ls.render(trimesh.creation.icosphere(4, 0.7), size=32).size == (32, 32)
    covered = (images[0] < 255).any(-1).mean()
    assert covered == pytest.approx(np.pi * 0.7**2 / 4, rel=0.1)


@pytest.mark.usefixtures("without_shape_checks")
def test_image_of_something_else() -> None:
    """Anything but a shape or a function is refused with its type."""
    with pytest.raises(ls.MeshError, match="expected a mesh.* got int 3"):
        ls.render(3)
