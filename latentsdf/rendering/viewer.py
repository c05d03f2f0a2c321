"""Interactive viewer of meshes: in a notebook, or in a window."""

from typing import Any

import trimesh

from latentsdf.utils.errors import MissingExtraError


def show_mesh(mesh: trimesh.Trimesh) -> Any:
    """Show a mesh in trimesh's viewer.

    Args:
        mesh: Mesh in any frame.

    Returns:
        The widget of a notebook, or the window after it was closed.

    Raises:
        MissingExtraError: pyglet, which opens the window, is not installed.
    """
    try:
        return trimesh.Scene(mesh).show()
    except ImportError as error:
        raise MissingExtraError(
            "outside of a notebook the viewer needs pyglet: pip install 'latentsdf[viewer]'; or write an image: "
            "space.render(shape).save('shape.png')"
        ) from error
