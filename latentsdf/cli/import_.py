"""Make a sample store from HDF5 or npz samples, or from point clouds."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, get_args

from latentsdf.cli.parser import Verbs, verb
from latentsdf.config.sampling import Normalization
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import StoreError


def add(verbs: Verbs) -> None:
    """Teach the parser this verb."""
    parser = verb(verbs, "import", run, "make a sample store from an export, DeepSDF's samples, or point clouds")
    parser.add_argument(
        "source",
        type=Path,
        help="HDF5 file of latentsdf export, folder of DeepSDF's <class>/<id>.npz, or of clouds <category>/<id>.ply, "
        ".xyz, .npz, ... to train from with train.samples: points",
    )
    parser.add_argument("store", type=Path, help="the store to write or continue (a .zarr folder)")
    parser.add_argument("--category", action="append", default=[], help="name or synset; repeat for several")
    parser.add_argument("--split", type=Path, help="DeepSDF split file that selects shapes")
    parser.add_argument("--glob", default="*", help="pattern of ids or category/id")
    parser.add_argument(
        "--normalization", choices=get_args(Normalization), help="how clouds come to model space (sphere)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace shapes that the store holds")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentsdf.data.import_export import import_samples

    report = import_samples(
        arguments.source,
        arguments.store,
        categories=arguments.category,
        split=arguments.split,
        pattern=arguments.glob,
        normalization=arguments.normalization,
        overwrite=arguments.overwrite,
    )
    count = f"{len(report.imported)} imported, {report.present} already there, {len(report.failed)} failed"
    console.print(f"{arguments.store}: {count}")
    for reason in report.failed.values():
        show_note("skipped", reason)
    if report.failed and not report.imported and not report.present:
        raise StoreError(f"{arguments.source}: no shape could be imported; the reasons are above")
    return dataclasses.asdict(report)
