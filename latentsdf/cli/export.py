"""`latentsdf export`: write a sample store to HDF5."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from latentsdf.cli.arg_types import UNSET, string_list
from latentsdf.cli.parser import Command, command, command_line
from latentsdf.utils.console import console


@command
class Export(Command):
    """Write a sample store to one HDF5 file."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf export chairs.zarr chairs.h5",
        "latentsdf export chairs.zarr some.h5 --id A B C --compression lzf",
    )

    store: tyro.conf.Positional[Path]
    """Sample store (a .zarr folder)."""
    out: tyro.conf.Positional[Path]
    """HDF5 file (.h5)."""
    id: Annotated[tuple[str, ...], string_list("ID"), UNSET] = ()
    """Shapes to export, as id or category/id (default: all)."""
    compression: Literal["gzip", "lzf"] = "gzip"
    """Compression filter; lzf is faster, but its files are larger."""

    def run(self) -> dict[str, Any]:
        """Export; returns the file and the number of shapes."""
        from latentsdf.data.import_export import export_samples
        from latentsdf.data.store import SampleStore

        store = SampleStore.open(self.store)
        keys = export_samples(store, self.out, self.id, self.compression)
        size = self.out.stat().st_size
        console.print(f"{self.out}: {len(keys)} shapes, {size:,} bytes")
        return {"out": str(self.out), "shapes": keys, "bytes": size}

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return the reverse."""
        return command_line("latentsdf", "import", self.out, "copy.zarr")
