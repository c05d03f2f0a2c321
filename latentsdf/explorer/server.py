"""The server of the explorer: one page per visitor."""

import contextlib
import io
import math
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import viser

from latentsdf.explorer.page import Page
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError

_AZIMUTH, _ELEVATION, _DISTANCE = 35.0, 20.0, 3.2  # degrees, and model space
_FIELD_OF_VIEW = 40.0  # degrees


@runtime_checkable
class Explorer(Protocol):
    """What all visitors of a target share."""

    def page(self, client: viser.ClientHandle) -> Page:
        """Build the page of a visitor."""

    def close(self) -> None:
        """End the threads."""


@contextmanager
def serve(explorer: Explorer, host: str, port: int, label: str) -> Iterator[str]:
    """Serve pages while the block runs.

    Args:
        explorer: Builds the page of each visitor.
        host: Address of the network interface, such as 127.0.0.1 for this machine only.
        port: Port; the next free one is taken if it is in use.
        label: Name of the target, shown on the page.

    Yields:
        Address of the page.

    Raises:
        ConfigError: The address cannot be used.
    """
    try:
        _require_address(host)
    except OSError as error:
        explorer.close()
        raise ConfigError(f"cannot listen at {host} ({error}); pass an address of this machine as --host") from error
    with _quiet():
        server = viser.ViserServer(host=host, port=port, label=label, verbose=False)
    pages: dict[int, Page] = {}

    @server.on_client_connect
    def _(client: viser.ClientHandle) -> None:
        try:
            pages[client.client_id] = explorer.page(client)
        except Exception:
            console.print(traceback.format_exc(), markup=False)
            client.gui.add_markdown("The page could not be built; the terminal of the server shows the reason.")

    @server.on_client_disconnect
    def _(client: viser.ClientHandle) -> None:
        page = pages.pop(client.client_id, None)
        if page is not None:
            page.close()

    _set_stage(server)
    shown = "localhost" if host in ("0.0.0.0", "127.0.0.1", "::") else host
    try:
        yield f"http://{shown}:{server.get_port()}"
    finally:
        for page in list(pages.values()):
            page.close()
        explorer.close()
        with _quiet():
            server.stop()


def _require_address(host: str) -> None:
    """Raise OSError for an address that this machine does not have, for which viser would wait forever."""
    family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind(address)


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """Keep what viser prints about itself from standard output."""
    return contextlib.redirect_stdout(io.StringIO())


def _set_stage(server: viser.ViserServer) -> None:
    """Set what is the same for all visitors: camera, light, colors."""
    server.gui.configure_theme(show_logo=False, show_share_button=False, brand_color=(43, 108, 176))
    server.scene.set_up_direction("+y")
    server.scene.configure_default_lights(cast_shadow=False)
    # Reflections of an environment take a browser without a GPU whole seconds per frame, and all cores.
    server.scene.configure_environment_map(None)
    server.scene.add_light_hemisphere("/sky", sky_color=(255, 255, 255), ground_color=(150, 150, 150), intensity=1.2)
    azimuth, elevation = math.radians(_AZIMUTH), math.radians(_ELEVATION)
    flat = _DISTANCE * math.cos(elevation)
    camera = server.initial_camera
    camera.position = (flat * math.sin(azimuth), _DISTANCE * math.sin(elevation), flat * math.cos(azimuth))
    camera.look_at = (0.0, 0.0, 0.0)
    camera.fov = math.radians(_FIELD_OF_VIEW)
