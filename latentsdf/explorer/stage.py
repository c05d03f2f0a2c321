"""The 3D scene of one visitor: a mesh, a target or points beside it, and a plane. Everything is in model space."""

from typing import Any

import numpy as np
import trimesh
import viser
from numpy.typing import NDArray

from latentsdf.explorer.cross_section import Pixels, Plane

_COLOR = (139, 169, 204)
_TARGET_COLOR = (235, 150, 60)
_POINT_SIZE = 0.008


class Stage:
    """Draws for one visitor; methods may be called from any thread.

    Args:
        client: Connection of the visitor.
    """

    def __init__(self, client: viser.ClientHandle) -> None:
        self._client, self._scene = client, client.scene
        self._mesh: viser.MeshHandle | None = None
        self._colored: viser.GlbHandle | None = None
        self._target: viser.SceneNodeHandle | None = None
        self._shown_target: NDArray[np.float32] | None = None
        self._points: viser.PointCloudHandle | None = None
        self._plane: viser.ImageHandle | None = None

    def show_mesh(self, vertices: NDArray[np.float32], faces: NDArray[np.uint32]) -> None:
        """Draw a mesh in place of the previous one; vertices and faces change in the same frame."""
        with self._client.atomic():
            if self._mesh is None:
                self._mesh = self._scene.add_mesh_simple(
                    "/shape", vertices, faces, color=_COLOR, side="double", cast_shadow=False, receive_shadow=False
                )
            else:
                self._mesh.vertices, self._mesh.faces = vertices, faces
            self._mesh.visible = True
            if self._colored is not None:
                self._colored.visible = False

    def show_colored_mesh(
        self, vertices: NDArray[np.float32], faces: NDArray[np.uint32], colors: NDArray[np.uint8]
    ) -> None:
        """Draw a mesh with colors (N, 3) of its vertices in place of the previous mesh."""
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=np.insert(colors, 3, 255, axis=1))
        with self._client.atomic():
            self._colored = self._scene.add_mesh_trimesh("/colored", mesh, cast_shadow=False, receive_shadow=False)
            if self._mesh is not None:
                self._mesh.visible = False

    def hide_mesh(self) -> None:
        """Draw no mesh."""
        for handle in (self._mesh, self._colored):
            if handle is not None:
                handle.visible = False

    def show_target(self, vertices: NDArray[np.float32], faces: NDArray[np.integer[Any]] | None) -> None:
        """Draw a target of a fit: a translucent mesh, or points if `faces` is None. It stays until it is hidden."""
        if self._target is not None and self._shown_target is vertices:
            return
        self._shown_target = vertices
        if faces is None:
            colors = np.broadcast_to(np.array(_TARGET_COLOR, dtype=np.uint8), vertices.shape)
            self._target = self._scene.add_point_cloud("/target", vertices, colors, point_size=_POINT_SIZE)
            return
        look: dict[str, Any] = {"color": _TARGET_COLOR, "opacity": 0.35, "side": "double", "cast_shadow": False}
        self._target = self._scene.add_mesh_simple(
            "/target", vertices, faces.astype(np.uint32), receive_shadow=False, **look
        )

    def hide_target(self) -> None:
        """Remove the target."""
        if self._target is not None:
            self._target.remove()
            self._target = None

    def show_points(self, points: NDArray[np.float32], colors: NDArray[np.uint8]) -> None:
        """Draw points with colors (N, 3) in place of the previous ones."""
        self._points = self._scene.add_point_cloud("/points", points, colors, point_size=_POINT_SIZE)

    def hide_points(self) -> None:
        """Remove the points."""
        if self._points is not None:
            self._points.remove()
            self._points = None

    def show_plane(self, plane: Plane, image: Pixels) -> None:
        """Draw the image of a plane."""
        if self._plane is None:
            self._plane = self._scene.add_image(
                "/plane", image, 2.0, 2.0, format="png", wxyz=plane.wxyz, position=plane.position,
                cast_shadow=False, receive_shadow=False,
            )  # fmt: skip
            return
        with self._client.atomic():
            self._plane.image = image
            self._plane.wxyz, self._plane.position = plane.wxyz, plane.position

    def hide_plane(self) -> None:
        """Remove the plane."""
        if self._plane is not None:
            self._plane.remove()
            self._plane = None
