"""Groups of arguments that several commands share, and checks before the work."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from latentsdf.cli.arg_types import UNSET, cells_per_axis, number, positive, whole
from latentsdf.cli.parser import Command, command
from latentsdf.config.inversion import Frame
from latentsdf.utils.errors import ConfigError

if TYPE_CHECKING:
    from latentsdf.config.inversion import InvertConfig, RefineConfig
    from latentsdf.space import ShapeSpace

Mode = Literal["general", "overfit", "fused", "smooth"]


@command
class OnDevice(Command):
    """A command that computes with torch."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""


@command
class OnSpace(OnDevice):
    """A command that uses a trained space."""

    checkpoint: tyro.conf.Positional[Path]
    """Folder of a trained space."""

    def load_space(self) -> "ShapeSpace":
        """Load the space."""
        from latentsdf.space import load

        return load(self.checkpoint, self.device)


@command
class Decoding(Command):
    """A command that extracts meshes."""

    resolution: Annotated[int, cells_per_axis()] = 256
    """Cells per axis."""
    mode: Mode = "fused"
    """general: the smooth branch. overfit: the detailed branch. fused: the detailed branch in the band around the
    surface, the smooth one elsewhere. smooth: as fused, blended at the border of the band."""


@command
class Refining(Command):
    """A command that can refine inversions."""

    refine: bool = False
    """Fit the detail of a mesh that its code does not represent, and store it as delta.npz."""
    refine_seconds: Annotated[float | None, positive(), UNSET] = None
    """Time budget of the refinement per shape; implies --refine."""

    def refinement(self, seed: int) -> "RefineConfig | None":
        """Settings of the refinement; None for none."""
        from latentsdf.config.inversion import RefineConfig

        if self.refine_seconds is not None:
            return RefineConfig(seconds=self.refine_seconds, seed=seed)
        return RefineConfig(seed=seed) if self.refine else None


@command
class Inverting(Command):
    """A command that fits codes to shapes."""

    steps: Annotated[int | None, whole(1), UNSET] = None
    """Maximum number of Gauss-Newton steps."""
    starts: Annotated[int | None, whole(1), UNSET] = None
    """Initial codes that are optimized in parallel."""
    points: Annotated[int | None, whole(1), UNSET] = None
    """Samples of the target used by the fit."""
    prior: Annotated[float | None, number(0), UNSET] = None
    """Weight of the prior, which keeps the code near the training codes."""
    partial: bool = False
    """The target is a part of a shape; the prior completes it."""
    align: bool = False
    """Estimate scale, rotation about y and translation of the target, too."""
    frame: Frame = "user"
    """Coordinates of the target."""
    seed: Annotated[int, whole(0)] = 0
    """Seed of the samples of the target."""

    def inversion(self, *, by_layer: bool = False) -> "InvertConfig":
        """Settings of the inversion."""
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

    def refuse_inverting(self) -> None:
        """Raise ConfigError for arguments of the inversion when nothing is inverted."""
        unset: dict[str, object] = {"steps": None, "starts": None, "points": None, "prior": None}
        unset |= {"partial": False, "align": False, "frame": "user", "seed": 0}
        useless = [f"--{name}" for name, value in unset.items() if getattr(self, name) != value]
        if useless:
            raise ConfigError(f"{' and '.join(useless)} would have no effect: only the target of --mesh is inverted")


def require_png(path: Path | None) -> None:
    """Raise ConfigError for a picture that is not a .png file."""
    if path is not None and path.suffix.lower() != ".png":
        raise ConfigError(f"a picture is written as .png, got {path}")


def require_folder(path: Path | None) -> None:
    """Create an output folder before the work that fills it.

    Raises:
        ConfigError: If the folder cannot be created or written to.
    """
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made a folder ({error.strerror}); name another --out") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: cannot be written to; name another --out")
