"""`latentsdf import`: create a sample store from HDF5, DeepSDF samples, or point clouds."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from latentsdf.cli.arg_types import UNSET, OptionalPath, string_list
from latentsdf.cli.common_args import PointFileArgs, training_line
from latentsdf.cli.parser import command
from latentsdf.config.sampling import Normalization
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import StoreError


@command
class Import(PointFileArgs):
    """Create a sample store from an HDF5 export, DeepSDF samples, or point clouds."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf import chairs.h5 copy.zarr",
        "latentsdf import SdfSamples/ShapeNetV2 shapes.zarr --category 03001627 --split chair_train.json",
        "latentsdf import clouds/ clouds.zarr --normalization cube",
    )

    source: tyro.conf.Positional[Path]
    """HDF5 file written by latentsdf export, folder of DeepSDF samples <class>/<id>.npz, or folder of point clouds
    <category>/<id>.ply, .xyz, .npz, ... for training with --train.samples points."""
    store: tyro.conf.Positional[Path]
    """Store to create or extend (a .zarr folder)."""
    category: Annotated[tuple[str, ...], string_list("NAME"), UNSET] = ()
    """Names or synsets of the categories to import (default: all)."""
    split: OptionalPath = None
    """DeepSDF split file that selects shapes."""
    glob: str = "*"
    """Wildcard pattern that selects shapes by id or category/id, such as 'kenney_*'."""
    normalization: Annotated[Normalization | None, UNSET] = None
    """Normalization of point clouds to model space (default: sphere)."""
    overwrite: bool = False
    """Replace shapes that are already in the store."""

    def run(self) -> dict[str, Any]:
        """Import the shapes; returns the imported and the failed ones, and the number of those already present."""
        from latentsdf.data.import_export import import_samples

        report = import_samples(
            self.source,
            self.store,
            categories=self.category,
            split=self.split,
            pattern=self.glob,
            normalization=self.normalization,
            columns=self.columns,
            overwrite=self.overwrite,
        )
        count = f"{len(report.imported)} imported, {report.present} already present, {len(report.failed)} failed"
        console.print(f"{self.store}: {count}")
        for reason in report.failed.values():
            show_note("skipped", reason)
        if report.failed and not report.imported and not report.present:
            raise StoreError(f"{self.source}: no shape could be imported; see the reasons above")
        return dataclasses.asdict(report)

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to train on the store."""
        return training_line(self.store)
