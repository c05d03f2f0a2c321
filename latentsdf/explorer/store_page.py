"""Page of a sample store: the surface in the stored band, samples colored by their distance, and doubtful signs."""

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
import viser
from PIL import Image

from latentsdf.data.store import SampleStore
from latentsdf.explorer import html
from latentsdf.explorer.cross_section import FINE_PIXELS, Pixels, Plane, draw_plane
from latentsdf.explorer.decoding import Check, Decoded, DecodingSession, PriorityGate
from latentsdf.explorer.gallery import Entry, Gallery
from latentsdf.explorer.gallery_panel import GalleryPanel
from latentsdf.explorer.page import Page, PlaneControls
from latentsdf.explorer.space_decoder import Picture, cut_open
from latentsdf.explorer.stored_shapes import (
    ColoredPoints,
    Layer,
    band_mesh,
    lattice_distance,
    sample_points,
    sign_remark,
)
from latentsdf.explorer.thumbnails import PIXELS, Thumbnails
from latentsdf.geometry.mesh_sdf.sign import DOUBTFUL_CONFIDENCE
from latentsdf.rendering.render import render_mesh
from latentsdf.utils.errors import StoreError

_TILES = 12
_KEPT = 8  # shapes whose mesh and lattice stay in memory
_LAYERS: dict[str, Layer] = {
    "surface in the band": "mesh",
    "vertices of the band": "band",
    "samples near the surface": "near",
    "samples in the box": "uniform",
    "surface samples": "surface",
}


@dataclass(frozen=True)
class StoreView:
    """What a visitor wants to see of a store."""

    key: str
    layer: Layer = "mesh"
    plane: Plane | None = None


@dataclass(frozen=True)
class StorePicture:
    """What the page draws: a mesh or points, and the image of a plane."""

    mesh: Picture | None
    points: ColoredPoints | None
    image: Pixels | None


class StoreExplorer:
    """What all visitors of a store share: the list of shapes, with the confidence of their signs, and thumbnails.

    Args:
        store: The store.

    Raises:
        StoreError: The store has no shapes.
    """

    def __init__(self, store: SampleStore) -> None:
        self.store, self.gate = store, PriorityGate()
        self._keys = store.keys()
        if not self._keys:
            raise StoreError(f"{store.path}: has no shapes yet; add some with latentsdf-preprocess")
        self._notes: dict[str, str] = {}
        self._closed = False
        self._mesh = lru_cache(_KEPT)(self._read_mesh)
        self._distance = lru_cache(_KEPT)(lambda key: lattice_distance(store, key))
        self.thumbnails = Thumbnails(self._thumbnail, self.gate)
        threading.Thread(target=self._read_signs, name="latentsdf-signs", daemon=True).start()

    def page(self, client: viser.ClientHandle) -> "StorePage":
        """Build the page of a visitor."""
        return StorePage(client, self)

    def close(self) -> None:
        """End the threads."""
        self._closed = True
        self.thumbnails.close()

    def gallery(self, *, doubtful: bool = False) -> Gallery:
        """Return the list of shapes; with `doubtful`, of those with a doubtful sign, as far as they are read."""
        keys = [key for key in self._keys if not doubtful or self._notes.get(key)]
        return Gallery([Entry(key, key.split("/", 1)[0], self._notes.get(key, "")) for key in keys], size=_TILES)

    def decode(self, view: StoreView, _: bool, check: Check) -> StorePicture:
        """Read a view from the store; there is no preview."""
        check()
        mesh = points = None
        if view.layer == "mesh":
            mesh = self._mesh(view.key)
        else:
            points = sample_points(self.store, view.key, view.layer)
        check()
        if view.plane is None:
            return StorePicture(mesh, points, None)
        if mesh is not None and view.plane.cuts:
            mesh = Picture(mesh.vertices, cut_open(mesh, view.plane), mesh.resolution)
        image = draw_plane(view.plane, self._distance(view.key), FINE_PIXELS)
        return StorePicture(mesh, points, image)

    def _read_mesh(self, key: str) -> Picture:
        mesh = band_mesh(self.store, key)
        return Picture(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32), self.store.config.resolution)

    def _thumbnail(self, key: Hashable, check: Check) -> Image.Image:
        mesh = band_mesh(self.store, cast(str, key))
        check()
        return render_mesh(mesh, size=PIXELS, occlusion=False)

    def _read_signs(self) -> None:
        for key in self._keys:
            if self._closed:
                return
            try:
                confidence = self.store.info(key).sign.confidence
                self._notes[key] = "" if confidence >= DOUBTFUL_CONFIDENCE else f"sign {confidence:.2f}"
            except StoreError:
                self._notes[key] = "damaged"


class StorePage(Page):
    """Page of one visitor of a store.

    Args:
        client: Connection of the visitor.
        explorer: What the visitors share.
    """

    def __init__(self, client: viser.ClientHandle, explorer: StoreExplorer) -> None:
        super().__init__(client)
        self.explorer, gui = explorer, self.gui
        self._key = explorer.gallery().entries[0].name
        self._last: StorePicture | None = None
        self._panel = GalleryPanel(self, self._gallery, explorer.thumbnails, self._choose, self._add_filter)
        self._title, self._remark = gui.add_html(""), gui.add_html("")
        self.add_notice()
        self._layer = gui.add_dropdown("Show", tuple(_LAYERS))
        self._legend = gui.add_html(
            html.message("Blue inside, orange outside; colors fade with the distance."), visible=False
        )
        self._session: DecodingSession[StoreView, StorePicture] = DecodingSession(
            explorer.decode, self._show, self._failed, explorer.gate, rest=None
        )
        self._plane: PlaneControls | None = None
        if explorer.store.config.sparse_resolution:
            self._plane = PlaneControls(self, self._decode)
        self.on(self._layer.on_update, lambda _: self._decode())
        gui.main_panel.dock_right()
        gui.main_panel.set_width(330)
        self._choose(self._key)

    def close(self) -> None:
        """End the work for a visitor who has left."""
        super().close()
        self._session.close()

    def _gallery(self) -> Gallery:
        return self.explorer.gallery(doubtful=self._doubtful.value if hasattr(self, "_doubtful") else False)

    def _add_filter(self) -> None:
        self._doubtful = self.gui.add_checkbox(
            "Doubtful signs", False, hint=f"Only shapes whose sign has a confidence below {DOUBTFUL_CONFIDENCE}"
        )
        self.on(self._doubtful.on_update, lambda _: self._panel.turn_to(0))

    def _choose(self, key: str) -> None:
        self._key = key
        self.tell("")
        self._panel.select(key)
        self._title.content = html.title(key.split("/", 1)[1], key.split("/", 1)[0])
        info = self.explorer.store.info(key)
        remark = f"{info.band_samples:,} band samples, area {info.area:.2f}. {sign_remark(info)}."
        kind = "info" if info.sign.confidence >= DOUBTFUL_CONFIDENCE else "warning"
        self._remark.content = html.message(remark, kind=kind)
        self._decode()

    def _decode(self) -> None:
        layer = _LAYERS[self._layer.value]
        self._legend.visible = layer in ("band", "near", "uniform")
        self._session.request(StoreView(self._key, layer, None if self._plane is None else self._plane.plane))

    def _show(self, decoded: Decoded[StoreView, StorePicture]) -> None:
        if self.closed:
            return
        picture, plane = decoded.result, decoded.request.plane
        if picture.mesh is not None:
            self.stage.hide_points()
            self.stage.show_mesh(picture.mesh.vertices, picture.mesh.faces)
        elif picture.points is not None:
            self.stage.hide_mesh()
            self.stage.show_points(picture.points.points, picture.points.colors)
        if plane is not None and picture.image is not None:
            self.stage.show_plane(plane, picture.image)
        else:
            self.stage.hide_plane()
        self.client.flush()

    def _failed(self, view: StoreView, text: str) -> None:
        if view.key == self._key:
            self.stage.hide_mesh()
            self.stage.hide_points()
            self.tell(text)
