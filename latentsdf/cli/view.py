"""`latentsdf view`: explore a space, a field or a sample store in the browser."""

import os
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from latentsdf.cli.arg_types import cells_per_axis, integer
from latentsdf.cli.common_args import DeviceArgs
from latentsdf.cli.parser import command
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from latentsdf.explorer.server import Explorer

_LAST_PORT = 65_535


@command
class View(DeviceArgs):
    """Explore a space, a field or a sample store in the browser."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf view checkpoints/chairs",
        "latentsdf view solid/ --resolution 512",
        "latentsdf view chairs.zarr --no-browser --host 0.0.0.0 --port 8080",
    )

    target: tyro.conf.Positional[str]
    """Folder of a trained space, of a field written by latentsdf reconstruct, or of a sample store."""
    port: Annotated[int, integer(0)] = 8090
    """Port of the page; the next free one if it is in use."""
    host: str = "127.0.0.1"
    """Address to listen on. 127.0.0.1: this machine only. 0.0.0.0: also other machines in the network."""
    no_browser: bool = False
    """Do not open the page in a browser of this machine."""
    resolution: Annotated[int, cells_per_axis()] = 256
    """Cells per axis of meshes at rest; they are coarser while something is dragged."""
    no_verify: bool = False
    """Read the files without comparing them with their checksums."""

    def run(self) -> None:
        """Serve the page until Ctrl-C."""
        if self.port > _LAST_PORT:
            raise ConfigError(f"--port: expected a port from 0 to {_LAST_PORT}, got {self.port}")
        try:
            import viser  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the explorer needs viser: pip install 'latentsdf[view]'") from error
        # Threads of torch that wait for work would take the processor from the browser beside them; read at its import.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from latentsdf.explorer.server import serve

        explorer = self._explorer()
        with serve(explorer, self.host, self.port, f"latentsdf: {Path(self.target).name or self.target}") as address:
            console.print(f"{self.target}: {address} (Ctrl-C ends)", markup=False, soft_wrap=True)
            if not self.no_browser and _has_display():
                webbrowser.open(address)
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                console.print("closed")

    def _explorer(self) -> "Explorer":
        from latentsdf.explorer.targets import kind_of

        verify = not self.no_verify
        match kind_of(self.target):
            case "field":
                from latentsdf.explorer.field_page import FieldExplorer
                from latentsdf.reconstruction.result import load_field

                return FieldExplorer(load_field(self.target, self.device, verify=verify), self.resolution)
            case "store":
                from latentsdf.data.store import SampleStore
                from latentsdf.explorer.store_page import StoreExplorer

                return StoreExplorer(SampleStore.open(self.target))
            case "space":
                from latentsdf.explorer.space_page import SpaceExplorer
                from latentsdf.space import load

                space = load(self.target, self.device, verify=verify)
                console.print("decoding the first shapes")
                return SpaceExplorer(space, self.resolution)


def _has_display() -> bool:
    """Whether a browser can open a window; without a display, text browsers would take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
