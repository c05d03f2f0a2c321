"""Write a sample store to HDF5."""

import argparse
from pathlib import Path
from typing import Any

from latentsdf.cli.parser import Verbs, verb
from latentsdf.utils.console import console


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "export", run, "write a sample store to one HDF5 file")
    parser.add_argument("store", type=Path, help="sample store, a .zarr folder")
    parser.add_argument("out", type=Path, help="HDF5 file (.h5)")
    parser.add_argument("--id", action="append", default=[], help="id or category/id; repeat for several, none for all")
    parser.add_argument(
        "--compression", choices=("gzip", "lzf"), default="gzip", help="lzf is faster and larger (%(default)s)"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.data.import_export import export_samples
    from latentsdf.data.store import SampleStore

    store = SampleStore.open(arguments.store)
    keys = export_samples(store, arguments.out, arguments.id, arguments.compression)
    size = arguments.out.stat().st_size
    console.print(f"{arguments.out}: {len(keys)} shapes, {size:,} bytes")
    return {"out": str(arguments.out), "shapes": keys, "bytes": size}
