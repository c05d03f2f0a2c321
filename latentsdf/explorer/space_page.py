"""Page of a space: shapes, principal directions, blends, nearest shapes, random shapes and fits of uploaded files."""

import threading
import traceback
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import cast, get_args

import numpy as np
import trimesh
import viser
from PIL import Image

from latentsdf.explorer import html
from latentsdf.explorer.decoding import UNEXPECTED, Cancelled, Check, Decoded, DecodingSession, Priority, PriorityGate
from latentsdf.explorer.fitting import FittedUpload, fit_upload
from latentsdf.explorer.gallery import ALL, Entry, Gallery
from latentsdf.explorer.gallery_panel import GalleryPanel, TileRow
from latentsdf.explorer.moves import blended, coordinates, corner_weights, moved
from latentsdf.explorer.page import Page, PlaneControls, element_id, set_value
from latentsdf.explorer.space_decoder import Picture, SpaceDecoder, SpaceView, preview_mode
from latentsdf.explorer.thumbnails import PIXELS, Thumbnails
from latentsdf.extraction.extract import Mode
from latentsdf.geometry.mesh import to_user_frame
from latentsdf.geometry.metrics.vertex_errors import COLORED_DISTANCE, error_colors
from latentsdf.latent.code import Code
from latentsdf.latent.retrieval import CodeIndex
from latentsdf.rendering.render import render_mesh
from latentsdf.space import ShapeSpace
from latentsdf.utils.console import console
from latentsdf.utils.errors import LatentSDFError

_TILES = 12
_NEIGHBORS = 6
_DIRECTIONS = 8
_RANGE = 3.0  # standard deviations
_CORNERS = ("↖", "↗", "↙", "↘")
_ENDS = ("←", "→")
_MODES: dict[Mode, str] = {
    "fused": "fused: detail in the band",
    "general": "general: without detail",
    "overfit": "overfit: detail everywhere",
    "smooth": "smooth: blended in the band",
    "overfit_box": "overfit, in the whole box",
}


@dataclass(frozen=True)
class Corner:
    """A shape on the pad."""

    name: str
    shape: str | Code
    """Id, or the code of a shape without one."""


class SpaceExplorer:
    """What all visitors of a space share: the space, thumbnails and the order of work.

    Args:
        space: The space.
        resolution: Cells per axis of fine meshes.
    """

    def __init__(self, space: ShapeSpace, resolution: int) -> None:
        self.space, self.resolution = space, resolution
        self.gate = PriorityGate()
        self.fits = threading.Lock()
        self.preview = preview_mode(space)
        self.modes = tuple(get_args(Mode)) if getattr(space.model, "overfit", True) is not None else ("general",)
        originals = [name for name in space.ids if name not in set(space.augmented)] or space.ids
        rows = [space.row(name) for name in originals]
        codes = space.codes[rows, : space.config.model.code_dim].float().numpy(force=True)
        self.index = CodeIndex(codes, originals, "l2")
        self.gallery = Gallery([Entry(space.ids[row], space.keys[row].split("/", 1)[0]) for row in rows], size=_TILES)
        self.thumbnails = Thumbnails(self._thumbnail, self.gate)

    def page(self, client: viser.ClientHandle) -> "SpacePage":
        """Build the page of a visitor."""
        return SpacePage(client, self)

    def close(self) -> None:
        """End the threads."""
        self.thumbnails.close()

    def nearest(self, code: Code, count: int) -> list[str]:
        """Return the ids of the training shapes with the nearest codes, without the shape itself."""
        query = np.asarray(code.code[: self.space.config.model.code_dim])
        hits = self.index.nearest(query, count + 1)
        return [name for name, distance in zip(hits.ids, hits.distances, strict=True) if distance > 1e-9][:count]

    def _thumbnail(self, key: Hashable, check: Check) -> Image.Image:
        code = key if isinstance(key, Code) else self.space[cast(str, key)]
        picture = SpaceDecoder(self.space).mesh(code, self.preview, 64, check)
        check()
        mesh = trimesh.Trimesh(picture.vertices, picture.faces, process=False)
        return render_mesh(mesh, size=PIXELS, occlusion=False)


class SpacePage(Page):
    """Page of one visitor of a space.

    Args:
        client: Connection of the visitor.
        explorer: What the visitors share.
    """

    def __init__(self, client: viser.ClientHandle, explorer: SpaceExplorer) -> None:
        super().__init__(client)
        self.explorer, self.space = explorer, explorer.space
        decoder = SpaceDecoder(self.space, preview=explorer.preview, resolution=explorer.resolution)
        self._session: DecodingSession[SpaceView, Picture] = DecodingSession(
            decoder, self._show, self._failed, explorer.gate
        )
        self._lock = threading.RLock()
        self._seed = 0
        self._upload: FittedUpload | None = None
        self._fit_number = 0
        self._picture: Decoded[SpaceView, Picture] | None = None
        self._code, self._name, self._id = self.space.mean(), "mean shape", ""
        first = self._first_corners()
        self._corners = [Corner(name, name) for name in first]
        self._pad_x = self._pad_y = 0.0
        self._build()
        self._choose(explorer.gallery.entries[0].name)

    def close(self) -> None:
        """End the work for a visitor who has left."""
        super().close()
        self._fit_number += 1
        self._session.close()

    # Controls

    def _build(self) -> None:
        gui, explorer = self.gui, self.explorer
        self._panel = GalleryPanel(self, lambda: explorer.gallery, explorer.thumbnails, self._choose, self._add_random)
        self._title = gui.add_html("")
        self._status = gui.add_html("")
        self.add_notice()
        download = gui.add_button("Download GLB", icon=viser.Icon.DOWNLOAD, hint="The shape in its own frame and unit")
        self.on_thread(download.on_click, lambda _: self._download())
        tabs = gui.add_tab_group()
        with tabs.add_tab("Explore"):
            self._add_directions()
            self._add_neighbors()
        with tabs.add_tab("Blend"):
            self._add_blend()
        with tabs.add_tab("Fit"):
            self._add_fit()
        with tabs.add_tab("View"):
            options = [_MODES[mode] for mode in self.explorer.modes]
            first = _MODES["fused"] if "fused" in self.explorer.modes else options[0]
            self._mode = gui.add_dropdown("Branch", options, initial_value=first)
            self.on(self._mode.on_update, lambda _: self._decode())
            self._plane = PlaneControls(self, self._decode, band="fused" in self.explorer.modes)
        main = gui.main_panel
        main.dock_right()
        main.set_width(360)

    def _add_random(self) -> None:
        draw = self.gui.add_button("Random shape", icon=viser.Icon.DICE_5, hint="Drawn from the chosen category")
        self.on(draw.on_click, lambda _: self._draw_random())

    def _add_directions(self) -> None:
        gui = self.gui
        self._sliders = []
        with gui.add_folder("Principal directions"):
            for number in range(min(_DIRECTIONS, self.space.config.model.code_dim)):
                slider = gui.add_slider(
                    f"Direction {number + 1}", -_RANGE, _RANGE, 0.02, 0.0, hint="Standard deviations from the mean"
                )
                self.on(slider.on_update, partial(self._move, number))
                self._sliders.append(slider)
            mean = gui.add_button("Mean shape", icon=viser.Icon.HOME)
            self.on(mean.on_click, lambda _: self._set_shape(self.space.mean(), "mean shape"))

    def _add_neighbors(self) -> None:
        with self.gui.add_folder("Nearest shapes"):
            self._near = TileRow(self, self.explorer.thumbnails, _NEIGHBORS, self._choose, empty="None.")

    def _add_blend(self) -> None:
        gui = self.gui
        if len(self._corners) < 2:
            gui.add_html(html.message("Blends need two shapes or more."))
            return
        gui.add_html(html.message("Drag on the pad to blend the shapes at its corners."))
        self._position = gui.add_number("", 0, min=0, max=10_000 * html.PAD_STEPS + html.PAD_STEPS)
        self._pad = gui.add_html("")
        counts = ("2", "4") if len(self._corners) == 4 else ("2",)
        self._count = gui.add_dropdown("Shapes", counts, initial_value=counts[-1])
        self._place = gui.add_button_group(
            "Put shape at", _CORNERS if counts[-1] == "4" else _ENDS, hint="Put the shape that is shown at this corner"
        )
        self.on(self._position.on_update, self._blend)
        self.on(self._count.on_update, lambda _: self._change_count())
        self.on(self._place.on_click, self._put)
        self._refresh_pad()

    def _add_fit(self) -> None:
        gui = self.gui
        zone = gui.add_html("")
        upload = gui.add_upload_button("Choose a file")
        zone.content = html.drop_zone(element_id(upload)) + html.hide_buttons([element_id(upload)])
        self._partial = gui.add_checkbox("Part of a shape", False, hint="A scan that covers only a part")
        self._align = gui.add_checkbox("Find its place", False, hint="Also estimate scale, rotation and translation")
        self._refine = gui.add_checkbox("Refine", False, hint="Add the detail of a mesh that the code cannot represent")
        self._progress = gui.add_progress_bar(0.0, visible=False)
        self._fit_text = gui.add_html("")
        self._overlay = gui.add_checkbox("Show the target", True, visible=False)
        self._errors = gui.add_checkbox("Color errors", True, visible=False)
        self._scale = gui.add_html(html.error_scale(COLORED_DISTANCE), visible=False)
        self._again = gui.add_button("Show the fit again", visible=False)
        self.on_thread(upload.on_upload, self._fit)
        self.on(self._again.on_click, lambda _: self._show_fit())
        for box in (self._overlay, self._errors):
            self.on(box.on_update, lambda _: self._decode())

    # Shapes

    def _choose(self, name: str) -> None:
        self._set_shape(self.space[name], name, name)

    def _draw_random(self) -> None:
        category = None if self._panel.category == ALL else self._panel.category
        code = self.space.sample(1, seed=self._seed, category=category)[0]
        self._seed += 1
        self._set_shape(code, f"random {category or 'shape'} {self._seed}")

    def _move(self, number: int, value: float) -> None:
        position = coordinates(self.space, self._code)
        shift = np.zeros_like(position)
        shift[number] = value - position[number]
        origin = self._name.removeprefix("changed: ")
        self._set_shape(moved(self.space, self._code, shift), f"changed: {origin}", moves_sliders=False)

    def _set_shape(self, code: Code, name: str, id: str = "", *, moves_sliders: bool = True) -> None:
        self._code, self._name, self._id = code, name, id
        self.tell("")
        self._title.content = html.title(name, "" if not id else self.space.keys[self.space.row(id)].split("/")[0])
        if moves_sliders:
            self._move_sliders()
        self._panel.select(id)
        self._decode()

    def _move_sliders(self) -> None:
        for slider, value in zip(self._sliders, coordinates(self.space, self._code), strict=False):
            reach = max(_RANGE, float(np.ceil(abs(value))))
            if slider.max != reach:
                slider.min, slider.max = -reach, reach
            set_value(slider, round(float(value), 2))

    # Blends

    def _first_corners(self) -> list[str]:
        """Choose a shape of each of up to four categories, or else the first shapes."""
        entries = self.explorer.gallery.entries
        by_category = {entry.category: entry.name for entry in reversed(entries)}
        names = list(dict.fromkeys((*by_category.values(), *(entry.name for entry in entries))))
        return names[: 4 if len(names) >= 4 else min(2, len(names))]

    def _blend_count(self) -> int:
        return int(self._count.value)

    def _blend(self, value: int) -> None:
        self._pad_x, self._pad_y = html.pad_position(int(value))
        corners = self._corners[: self._blend_count()]
        code = blended(self.space, [corner.shape for corner in corners], self._pad_x, self._pad_y)
        weights = corner_weights(len(corners), self._pad_x, self._pad_y)
        shares = zip(weights, corners, strict=True)
        parts = [f"{weight:.0%} {corner.name}" for weight, corner in shares if weight > 5e-3]
        self._set_shape(code, " + ".join(parts), moves_sliders=False)

    def _change_count(self) -> None:
        self._place.options = _CORNERS if self._blend_count() == 4 else _ENDS
        self._refresh_pad()

    def _put(self, place: str) -> None:
        number = (_CORNERS if self._blend_count() == 4 else _ENDS).index(place)
        self._corners[number] = Corner(self._name, self._id or self._code)
        self._refresh_pad()

    def _refresh_pad(self) -> None:
        with self._lock:
            if self.closed:
                return
            count, control = self._blend_count(), element_id(self._position)
            get = self.explorer.thumbnails.get
            items = [
                html.Tile(corner.name, get(corner.shape, self._refresh_pad), "") for corner in self._corners[:count]
            ]
            self._pad.content = html.pad(control, count, self._pad_x, self._pad_y, items) + html.hide_number(control)

    # Fits

    def _fit(self, file: viser.UploadedFile) -> None:
        """Fit an uploaded file, in a thread; a newer upload ends the fit of an older one."""
        self._fit_number += 1
        number = self._fit_number
        options = {"partial": self._partial.value, "align": self._align.value, "refine": self._refine.value}

        def check() -> None:
            if self._fit_number != number:
                raise Cancelled

        def progress(what: str, share: float) -> None:
            self.explorer.gate.pause(Priority.FINE, check)
            set_value(self._progress, 100 * share)
            self._fit_text.content = html.message(f"{what} {share:.0%}" if share else what)

        set_value(self._progress, 0.0)
        self._progress.visible = True
        self._fit_text.content = html.message("waiting for another fit to end")
        try:
            while not self.explorer.fits.acquire(timeout=0.1):
                check()
            try:
                upload = fit_upload(self.space, file.name, file.content, progress, **options)
            finally:
                self.explorer.fits.release()
            check()
            self._upload = upload
            self._fit_text.content = html.message(upload.verdict(), kind="good" if upload.fit.ok else "warning")
            for control in (self._overlay, self._errors, self._again, self._scale):
                control.visible = True
            self._show_fit()
        except Cancelled:
            return
        except LatentSDFError as error:
            self._fit_text.content = html.message(str(error), kind="error")
        except Exception:
            console.print(traceback.format_exc(), markup=False)
            self._fit_text.content = html.message(UNEXPECTED, kind="error")
        if self._fit_number == number:
            self._progress.visible = False

    def _show_fit(self) -> None:
        if self._upload is not None:
            self._set_shape(self._upload.code, f"fit of {self._upload.name}")

    # Pictures

    def _decode(self) -> None:
        names = {text: mode for mode, text in _MODES.items()}
        self._session.request(SpaceView(self._code, names[self._mode.value], self._plane.plane))

    def _show(self, decoded: Decoded[SpaceView, Picture]) -> None:
        """Draw a picture; called in the thread of the session."""
        if self.closed:
            return
        view, picture = decoded.request, decoded.result
        upload = self._upload if self._upload is not None and view.code is self._upload.code else None
        self._picture = decoded
        self.pictures += 1
        colors = None
        if upload is not None and self._errors.value and decoded.fine:
            colors = error_colors(upload.errors(picture.vertices))
        with self.client.atomic():
            if colors is None:
                self.stage.show_mesh(picture.vertices, picture.faces)
            else:
                self.stage.show_colored_mesh(picture.vertices, picture.faces, colors)
            if view.plane is not None and picture.image is not None:
                self.stage.show_plane(view.plane, picture.image)
            else:
                self.stage.hide_plane()
            if upload is not None and self._overlay.value:
                self.stage.show_target(upload.vertices, upload.faces)
            else:
                self.stage.hide_target()
            faces = len(picture.faces)
            self._status.content = html.status(
                self.pictures, picture.resolution, picture.mode, faces, decoded.seconds, decoded.fine
            )
        self.client.flush()
        if decoded.fine:
            self._near.show(self.explorer.nearest(view.code, _NEIGHBORS))
            if view.code is self._code:
                self._move_sliders()

    def _failed(self, view: SpaceView, text: str) -> None:
        if view.code is self._code:
            self.stage.hide_mesh()
            self.tell(text)

    def _download(self) -> None:
        code, shown = self._code, self._picture
        resolution = self.explorer.resolution
        if shown is not None and shown.fine and shown.request.code is code and shown.request.plane is None:
            mesh = trimesh.Trimesh(shown.result.vertices, shown.result.faces, process=False)
            mesh = to_user_frame(mesh, self.space.similarity(code))
        else:
            names = {text: mode for mode, text in _MODES.items()}
            mesh = self.space.extract(code, resolution, names[self._mode.value])
        self.download(self._name, mesh)
