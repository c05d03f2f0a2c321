"""Page of one field that `latentsdf reconstruct` wrote: mesh and cross-sections, of a planar field the level sets."""

import threading
from dataclasses import dataclass

import numpy as np
import trimesh
import viser
from numpy.typing import NDArray

from latentsdf.explorer import html
from latentsdf.explorer.cross_section import COARSE_PIXELS, FINE_PIXELS, Pixels, Plane, draw_plane
from latentsdf.explorer.decoding import COARSE_RESOLUTION, Check, Decoded, DecodingSession, PriorityGate
from latentsdf.explorer.page import Page, PlaneControls
from latentsdf.explorer.space_decoder import Picture, by_chunks, checked, cut_open
from latentsdf.extraction.extract import extract
from latentsdf.geometry.mesh import to_user_frame
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.rendering.level_sets import draw_level_sets

_DISTANCE, _PHASE = "signed distance", "phase"
_PLANAR_PIXELS = 768
_PLANAR_SPACING = 0.05


@dataclass(frozen=True)
class FieldView:
    """What a visitor wants to see of a field."""

    plane: Plane | None = None
    shows_phase: bool = False


class FieldExplorer:
    """What all visitors of a field share: its meshes, which are extracted once.

    Args:
        field: The field.
        resolution: Cells per axis of the fine mesh.
    """

    def __init__(self, field: Reconstruction, resolution: int) -> None:
        self.field, self.resolution, self.gate = field, resolution, PriorityGate()
        self._pictures: dict[int, Picture] = {}
        self._lock = threading.Lock()

    def page(self, client: viser.ClientHandle) -> "FieldPage":
        """Build the page of a visitor."""
        return FieldPage(client, self)

    def close(self) -> None:
        """Nothing to end: the threads belong to the pages."""

    def decode(self, view: FieldView, fine: bool, check: Check) -> Picture:
        """Decode a view: the mesh, unless the field is planar, and the image of the plane."""
        if self.field.dim == 2:
            return _picture(self._draw_planar(view))
        picture = self._mesh(fine, check)
        if view.plane is None:
            return picture
        faces = cut_open(picture, view.plane) if view.plane.cuts else picture.faces
        image = self._draw(view, view.plane, fine, check)
        return Picture(picture.vertices, faces, picture.resolution, image=image)

    def _mesh(self, fine: bool, check: Check) -> Picture:
        resolution = self.resolution if fine else min(COARSE_RESOLUTION, self.resolution)
        with self._lock:
            known = [number for number in self._pictures if number >= resolution]
        if known:
            return self._pictures[max(known)]
        network = checked(self.field.network, check)
        mesh = extract(network, resolution=resolution, mode="general", device=self.field.device)
        picture = Picture(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32), resolution)
        with self._lock:
            self._pictures[resolution] = picture
        return picture

    def _draw(self, view: FieldView, plane: Plane, fine: bool, check: Check) -> Pixels:
        pixels, device = FINE_PIXELS if fine else COARSE_PIXELS, self.field.device
        if view.shows_phase and self.field.phase_field is not None:
            phase = by_chunks(checked(self.field.phase_field, check))
            return draw_plane(plane, phase, pixels, device=device, draw=_gray)
        return draw_plane(plane, by_chunks(checked(self.field.network, check)), pixels, device=device)

    def _draw_planar(self, view: FieldView) -> Pixels:
        centers = ((np.arange(_PLANAR_PIXELS) + 0.5) / _PLANAR_PIXELS * 2 - 1) * self.field.config.extent
        right, down = np.meshgrid(centers, centers)
        points = np.column_stack((right.ravel(), -down.ravel()))
        shape = (_PLANAR_PIXELS, _PLANAR_PIXELS)
        if view.shows_phase:
            return _gray(self.field.phase(points, frame="model").reshape(shape).astype(np.float64))
        distance = self.field.distance(points, frame="model").reshape(shape).astype(np.float64)
        return np.asarray(draw_level_sets(distance, _PLANAR_SPACING))


class FieldPage(Page):
    """Page of one visitor of a field.

    Args:
        client: Connection of the visitor.
        explorer: What the visitors share.
    """

    def __init__(self, client: viser.ClientHandle, explorer: FieldExplorer) -> None:
        super().__init__(client)
        self.explorer = explorer
        field, gui = explorer.field, self.gui
        gui.add_html(html.title("Reconstruction", f"{field.config.method}, {field.dim}D"))
        self._status = gui.add_html("")
        self.add_notice()
        self._quantity: viser.GuiDropdownHandle[str] | None = None
        self._plane: PlaneControls | None = None
        self._session: DecodingSession[FieldView, Picture] = DecodingSession(
            explorer.decode, self._show, lambda _, text: self.tell(text), explorer.gate
        )
        if field.dim == 3:
            download = gui.add_button("Download GLB", icon=viser.Icon.DOWNLOAD, hint="In the frame of the points")
            self.on_thread(download.on_click, lambda _: self._download())
            self._plane = PlaneControls(self, self._decode)
        if field.phase_field is not None:
            self._quantity = gui.add_dropdown("Quantity", (_DISTANCE, _PHASE), hint="Shown on the cross-section")
            self.on(self._quantity.on_update, lambda _: self._decode())
        gui.main_panel.dock_right()
        gui.main_panel.set_width(330)
        self._decode()

    def close(self) -> None:
        """End the work for a visitor who has left."""
        super().close()
        self._session.close()

    def _decode(self) -> None:
        shows_phase = self._quantity is not None and self._quantity.value == _PHASE
        plane = None if self._plane is None else self._plane.plane
        self._session.request(FieldView(plane, shows_phase))

    def _show(self, decoded: Decoded[FieldView, Picture]) -> None:
        if self.closed:
            return
        picture, plane = decoded.result, decoded.request.plane
        self.pictures += 1
        with self.client.atomic():
            if len(picture.vertices):
                self.stage.show_mesh(picture.vertices, picture.faces)
                faces = len(picture.faces)
                self._status.content = html.status(
                    self.pictures, picture.resolution, "field", faces, decoded.seconds, decoded.fine
                )
            if picture.image is None:
                self.stage.hide_plane()
            else:
                self.stage.show_plane(plane or Plane(), picture.image)
        self.client.flush()

    def _download(self) -> None:
        picture = self.explorer.decode(FieldView(), True, lambda: None)
        mesh = trimesh.Trimesh(picture.vertices, picture.faces, process=False)
        self.download("reconstruction", to_user_frame(mesh, self.explorer.field.similarity))


def _picture(image: Pixels) -> Picture:
    return Picture(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint32), 0, image=image)


def _gray(values: NDArray[np.float64]) -> Pixels:
    return np.repeat((values.clip(0, 1) * 255).round().astype(np.uint8)[..., None], 3, axis=2)
