"""Parts that the pages of spaces, fields and stores have in common."""

import re
import traceback
from collections.abc import Callable
from typing import Any, cast

import trimesh
import viser

from latentsdf.explorer import html
from latentsdf.explorer.cross_section import Plane
from latentsdf.explorer.decoding import UNEXPECTED
from latentsdf.explorer.stage import Stage
from latentsdf.rendering.level_sets import Axis
from latentsdf.utils.console import console
from latentsdf.utils.errors import LatentSDFError


class Page:
    """Page of one visitor. State belongs to the page, so visitors do not disturb each other.

    Controls are wired by `on`, whose callbacks run one after another in the thread of the server's event loop and must
    return quickly, and by `on_thread`, for work that takes longer.

    Args:
        client: Connection of the visitor.
    """

    def __init__(self, client: viser.ClientHandle) -> None:
        self.client, self.gui, self.stage = client, client.gui, Stage(client)
        self.closed = False
        self.pictures = 0
        """Number of pictures that the page has shown."""
        self._notice: viser.GuiHtmlHandle | None = None

    def close(self) -> None:
        """End the work for a visitor who has left."""
        self.closed = True

    def add_notice(self) -> None:
        """Add the place for sentences about what went wrong."""
        self._notice = self.gui.add_html("", visible=False)

    def tell(self, text: str, *, kind: str = "error") -> None:
        """Show a sentence on the page; an empty one removes the previous one."""
        if self._notice is None or self.closed:
            return
        self._notice.content = html.message(text, kind=kind) if text else ""
        self._notice.visible = bool(text)

    def on(self, register: Callable[[Any], Any], action: Callable[[Any], None]) -> None:
        """Call an action with the value of a control when the visitor changes it.

        Args:
            register: Method of the control, such as `slider.on_update`.
            action: Called with the new value; what it raises is shown on the page.
        """

        async def callback(event: viser.GuiEvent[Any]) -> None:
            self._act(event, action)

        register(callback)

    def on_thread(self, register: Callable[[Any], Any], action: Callable[[Any], None]) -> None:
        """As `on`, but in a thread of its own."""

        def callback(event: viser.GuiEvent[Any]) -> None:
            self._act(event, action)

        register(callback)

    def _act(self, event: viser.GuiEvent[Any], action: Callable[[Any], None]) -> None:
        if event.client is None or self.closed:
            return  # the page itself has set the value, or the visitor has left
        try:
            action(event.target.value)
        except LatentSDFError as error:
            self.tell(str(error))
        except Exception:
            console.print(traceback.format_exc(), markup=False)
            self.tell(UNEXPECTED)

    def download(self, name: str, mesh: trimesh.Trimesh) -> None:
        """Let the browser save a mesh as GLB."""
        content = cast(bytes, mesh.export(file_type="glb"))
        self.client.send_file_download(file_name(name, ".glb"), content, save_immediately=True)


class PlaneControls:
    """Controls of the cross-section.

    Args:
        page: The page, in whose current container the controls are added.
        changed: Called when the visitor changed a control.
        cuts: Whether meshes can be cut open.
        band: Whether the fusion band can be tinted.
    """

    def __init__(self, page: Page, changed: Callable[[], None], *, cuts: bool = True, band: bool = False) -> None:
        gui = page.gui
        self._shown = gui.add_checkbox("Cross-section", False, hint="Level sets of the signed distance on a plane")
        self._axis = gui.add_dropdown("Across", ("x", "y", "z"), initial_value="z", visible=False)
        self._offset = gui.add_slider("Position", -1.0, 1.0, 0.01, 0.0, visible=False)
        self._cuts = gui.add_checkbox("Cut open", True, visible=False, hint="Remove the mesh above the plane")
        self._band = gui.add_checkbox("Tint the band", False, visible=False, hint="Where the overfit branch is used")
        self._has_band = band
        controls = ((self._axis, True), (self._offset, True), (self._cuts, cuts), (self._band, band))

        def update(_: object) -> None:
            for control, available in controls:
                control.visible = available and self._shown.value
            changed()

        for control in (self._shown, *(control for control, _ in controls)):
            page.on(control.on_update, update)

    @property
    def plane(self) -> Plane | None:
        """The plane that the visitor chose, or None."""
        if not self._shown.value:
            return None
        axis, shows_band = cast(Axis, self._axis.value), self._has_band and self._band.value
        return Plane(axis, self._offset.value, self._cuts.value, shows_band)


def file_name(name: str, suffix: str) -> str:
    """Return a name of a shape as the name of a file."""
    return (re.sub(r"[^\w.-]+", "_", name).strip("._") or "shape")[:80] + suffix


def set_value(control: Any, value: object) -> None:
    """Set the value of a control, whose setter the types of viser hide."""
    control.value = value


def element_id(control: Any) -> str:
    """Return the id in the document of a control, to which the HTML beside it refers."""
    return str(control._impl.uuid)
