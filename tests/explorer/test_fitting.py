"""Fits of uploaded files."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import trimesh

from latentsdf.explorer.decoding import Cancelled
from latentsdf.explorer.fitting import fit_upload, safe_name
from latentsdf.utils.errors import LatentSDFError

if TYPE_CHECKING:
    from latentsdf.space import ShapeSpace

_EMPTY_PLY = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement "
_FACELESS = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def _ignore(what: str, share: float) -> None:
    """Progress that nobody sees."""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.obj", b"these are my notes, not a mesh\n"),
        ("empty.obj", b""),
        ("empty.ply", b""),
        ("cut.ply", _EMPTY_PLY),
        ("faceless.obj", _FACELESS),
        ("picture.png", b"\x89PNG"),
        ("no_suffix", b"v 0 0 0\n"),
        ("x" * 5000 + ".stl", b"solid"),
        ("../../etc/passwd", b"root"),
        ("a.npy", b"\x93NUMPY"),
        ("points.xyz", b"0 0 0\n1 1 1\n"),
        ("a\0b.glb", b"glTF"),
    ],
)
def test_wrong_files_get_a_sentence_with_their_name(space: "ShapeSpace", name: str, content: bytes) -> None:
    """Unusable files are refused by their own name, without paths of the server."""
    with pytest.raises(LatentSDFError) as error:
        fit_upload(space, name, content, _ignore)
    text = str(error.value)
    assert safe_name(name) in text
    assert "latentsdf-" not in text
    assert "upload." not in text
    assert len(text) < 600


def test_safe_name() -> None:
    """Folders, control characters and excessive length are removed."""
    assert safe_name("C:\\meshes\\chair.obj") == "chair.obj"
    assert safe_name("a\nb.obj") == "ab.obj"
    long = safe_name("x" * 300 + ".obj")
    assert len(long) < 60
    assert long.endswith(".obj")


def test_progress_can_end_a_fit(space: "ShapeSpace") -> None:
    """Progress reaches the caller, whose exception ends the fit."""
    heard = []

    def stop(what: str, share: float) -> None:
        heard.append((what, share))
        if share > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        fit_upload(space, "box.ply", trimesh.creation.box().export(file_type="ply"), stop)
    assert heard[0] == ("reading the file", 0.0)
    assert heard[-1][0] == "inverting"


@pytest.mark.slow
def test_fit_of_a_mesh_and_of_points(trained_space: "ShapeSpace") -> None:
    """The target is placed on the decoded fit, and errors are distances to it."""
    mesh = trained_space.extract(trained_space.ids[0], 64)
    upload = fit_upload(trained_space, "table.ply", mesh.export(file_type="ply"), _ignore)
    assert upload.fit.verdict is not None and upload.fit.verdict.word in ("fits", "partly")
    assert f"fit: {upload.fit.verdict}" in upload.verdict()
    assert upload.faces is not None
    decoded = trained_space.extract(upload.code, 64, frame="model")
    assert np.median(upload.errors(decoded.vertices)) < 0.01
    assert np.abs(upload.vertices).max() <= 1
    text = "\n".join(" ".join(map(str, point)) for point in mesh.vertices).encode()
    points = fit_upload(trained_space, "points.xyz", text, _ignore)
    assert points.faces is None
    assert points.errors(points.vertices).max() < 1e-6
