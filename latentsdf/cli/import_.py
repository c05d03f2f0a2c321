"""`latentsdf import`: make a sample store from HDF5, DeepSDF's samples, or point clouds."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from latentsdf.cli.arg_types import UNSET, OptionalPath, texts
from latentsdf.cli.parser import Command, command
from latentsdf.config.sampling import Normalization
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import StoreError


@command
class Import(Command):
    """Make a sample store from an export, DeepSDF's samples, or point clouds."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf import chairs.h5 copy.zarr",
        "latentsdf import SdfSamples/ShapeNetV2 shapes.zarr --category 03001627 --split chair_train.json",
        "latentsdf import clouds/ clouds.zarr --normalization cube",
    )

    source: tyro.conf.Positional[Path]
    """HDF5 file written by latentsdf export, folder of DeepSDF's <class>/<id>.npz, or folder of point clouds
    <category>/<id>.ply, .xyz, .npz, ... for training with --train.samples points."""
    store: tyro.conf.Positional[Path]
    """Store to create or to continue (a .zarr folder)."""
    category: Annotated[tuple[str, ...], texts("NAME"), UNSET] = ()
    """Names or synsets of the categories to import; all unless given."""
    split: OptionalPath = None
    """DeepSDF split file that selects shapes."""
    glob: str = "*"
    """Pattern of id or category/id."""
    normalization: Annotated[Normalization | None, UNSET] = None
    """Normalization of point clouds to model space; sphere unless given."""
    overwrite: bool = False
    """Replace shapes that the store holds."""

    def run(self) -> dict[str, Any]:
        """Import; returns imported, present and failed shapes."""
        from latentsdf.data.import_export import import_samples

        report = import_samples(
            self.source,
            self.store,
            categories=self.category,
            split=self.split,
            pattern=self.glob,
            normalization=self.normalization,
            overwrite=self.overwrite,
        )
        count = f"{len(report.imported)} imported, {report.present} already there, {len(report.failed)} failed"
        console.print(f"{self.store}: {count}")
        for reason in report.failed.values():
            show_note("skipped", reason)
        if report.failed and not report.imported and not report.present:
            raise StoreError(f"{self.source}: no shape could be imported; the reasons are above")
        return dataclasses.asdict(report)
