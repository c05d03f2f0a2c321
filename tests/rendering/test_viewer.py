"""The viewer of meshes, which tests replace: it opens a window."""

import numpy as np
import pytest
import trimesh

from latentsdf.rendering.viewer import show_mesh
from latentsdf.utils.errors import MissingExtraError

BOX = trimesh.creation.box((1, 2, 3))


def test_shown_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The viewer gets a scene of the mesh alone, and its widget is returned."""
    shown: list[trimesh.Scene] = []
    monkeypatch.setattr(trimesh.Scene, "show", lambda scene: shown.append(scene) or "widget")
    assert show_mesh(BOX) == "widget"
    (mesh,) = shown[0].geometry.values()
    np.testing.assert_array_equal(mesh.vertices, BOX.vertices)


def test_viewer_without_pyglet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a viewer the error names the extra and the alternative."""

    def fail(_: trimesh.Scene) -> None:
        raise ImportError("No module named 'pyglet'")

    monkeypatch.setattr(trimesh.Scene, "show", fail)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentsdf\[viewer\]'.*space.render"):
        show_mesh(BOX)
