"""Argument groups shared by several commands, and checks of output paths."""

import dataclasses
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from latentsdf.cli.arg_types import (
    UNSET,
    cells_per_axis,
    column_order,
    finite_float,
    frame_name,
    integer,
    positive_float,
)
from latentsdf.cli.parser import Command, command, command_line
from latentsdf.utils.atomic_files import require_file_output
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.config.inversion import InvertConfig, RefineConfig
    from latentsdf.space import ShapeSpace

Mode = Literal["general", "overfit", "fused", "smooth"]


@command
class DeviceArgs(Command):
    """Command that computes with torch on a selectable device."""

    device: str = "auto"
    """Compute device: auto, cpu, cuda, cuda:N, or mps (Apple; see README.md)."""


@command
class SpaceArgs(DeviceArgs):
    """Command that uses a trained space."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint folder of a trained space."""
    no_verify: bool = False
    """Read the files of spaces and fits without comparing them with their checksums."""

    def load_space(self) -> "ShapeSpace":
        """Load the space onto the selected device."""
        from latentsdf.space import load

        return load(self.checkpoint, self.device, verify=not self.no_verify)


@command
class PointFileArgs(Command):
    """Command that reads point files."""

    columns: Annotated[tuple[str, ...] | None, column_order(), UNSET] = None
    """Meaning of the columns of a table of points, such as x,y,z,nx,ny,nz,-: coordinates, normals, sdf (signed
    distance), or - for a column to ignore (default: by the names above the columns, or by their values)."""


@command
class DecodeArgs(Command):
    """Command that extracts meshes."""

    resolution: Annotated[int, cells_per_axis()] = 256
    """Cells per axis."""
    mode: Mode = "fused"
    """Branch to extract. general: the general branch, without detail. overfit: the overfit branch, with detail. fused:
    the overfit branch in a narrow band around the surface, the general branch elsewhere. smooth: like fused, with a
    gradual transition between the branches."""


@command
class RefineArgs(Command):
    """Command that can refine inversions."""

    refine: bool = False
    """Also fit the detail of a mesh that its code cannot represent. invert stores it as delta.npz."""
    refine_seconds: Annotated[float | None, positive_float(), UNSET] = None
    """Time budget of the refinement per shape; implies --refine."""

    def refinement(self, seed: int) -> "RefineConfig | None":
        """Return the settings of the refinement, or None if it is not requested."""
        from latentsdf.config.inversion import RefineConfig

        if self.refine_seconds is not None:
            return RefineConfig(seconds=self.refine_seconds, seed=seed)
        return RefineConfig(seed=seed) if self.refine else None


@command
class InvertArgs(Command):
    """Command that fits codes to shapes."""

    steps: Annotated[int | None, integer(1), UNSET] = None
    """Maximum number of Gauss-Newton steps (default: 40)."""
    starts: Annotated[int | None, integer(1), UNSET] = None
    """Number of initial codes that are optimized in parallel (default: 4)."""
    points: Annotated[int | None, integer(1), UNSET] = None
    """Number of samples of the target used by the fit (default: 2048)."""
    prior: Annotated[float | None, finite_float(0), UNSET] = None
    """Weight of the prior, which keeps the code near the training codes (default: 1e-06)."""
    partial: bool = False
    """The target covers only part of a shape; the prior completes the rest."""
    align: bool = False
    """Also estimate the scale, rotation about y and translation of the target."""
    frame: Annotated[Literal["shape", "model"], frame_name()] = "shape"
    """Frame of the target. shape: its own, normalized like a training shape. model: already in model space."""
    seed: Annotated[int, integer(0)] = 0
    """Seed of the sampling of the target."""

    def inversion(self, *, by_layer: bool = False) -> "InvertConfig":
        """Return the settings of the inversion.

        Args:
            by_layer: After the shared code, fit one code per conditioned layer.
        """
        from latentsdf.config.inversion import InvertConfig

        limits = {"steps": self.steps, "starts": self.starts, "points": self.points, "prior": self.prior}
        given = {name: value for name, value in limits.items() if value is not None}
        return InvertConfig(
            by_layer=by_layer,
            partial=self.partial,
            align=self.align,
            frame=self.frame,
            seed=self.seed,
            **given,  # type: ignore[arg-type]
        )

    def reject_invert_args(self) -> None:
        """Raise ConfigError if arguments of the inversion are given although nothing is inverted."""
        unset: dict[str, object] = {"steps": None, "starts": None, "points": None, "prior": None}
        unset |= {"partial": False, "align": False, "frame": "shape", "seed": 0}
        without_effect = [f"--{name}" for name, value in unset.items() if getattr(self, name) != value]
        if without_effect:
            raise ConfigError(f"{' and '.join(without_effect)} would have no effect: only a --mesh query is inverted")


def training_line(store: Path) -> str:
    """Return the command line that trains a space on a sample store."""
    from latentsdf.data import import_pointclouds
    from latentsdf.data.store import SampleStore

    config = SampleStore.open(store).config
    points_only = config == dataclasses.replace(import_pointclouds.SETTINGS, normalization=config.normalization)
    out = Path("checkpoints") / store.name.removesuffix(".zarr")
    words = ("--config", "igr_cpu" if points_only else "latentsdf_cpu", "--data", store, "--out", out)
    return command_line("latentsdf", "train", *words, "--minutes", 15)


def require_png(path: Path | None) -> None:
    """Raise ConfigError if the path of an image does not end in .png, or something else than a file is there."""
    if path is not None and path.suffix.lower() != ".png":
        raise ConfigError(f"images are written as .png, got {path}")
    if path is not None:
        require_file_output(path)


_created: list[Path] = []  # folders that `create_output_folder` created, parents first


def create_output_folder(path: Path | None) -> None:
    """Create an output folder, so that an unusable path is reported before the computation.

    If the command fails before it writes anything, `remove_empty_output_folders` removes the folder again.

    Raises:
        ConfigError: The folder cannot be created or written to.
    """
    if path is None:
        return
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        path.mkdir(parents=True, exist_ok=True)
        _created.extend(reversed(missing))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be created as a folder ({error.strerror}); choose another --out") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: is not writable; choose another --out")


def remove_empty_output_folders() -> None:
    """Remove the output folders that this process created and left empty."""
    while _created:
        with suppress(OSError):  # not empty
            _created.pop().rmdir()
