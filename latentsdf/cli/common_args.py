"""Argument groups shared by several commands, and checks of output paths."""

import dataclasses
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from latentsdf.cli.arg_types import (
    UNSET,
    OptionalPath,
    cells_per_axis,
    column_order,
    finite_float,
    frame_name,
    integer,
    positive_float,
    string_list,
)
from latentsdf.cli.parser import Command, command, command_line
from latentsdf.utils.atomic_files import require_file_output
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.object_storage import ObjectPath, locate

if TYPE_CHECKING:
    from latentsdf.config.inversion import InvertConfig, RefineConfig
    from latentsdf.config.training import Config
    from latentsdf.space import ShapeSpace

_KEPT = tyro.conf.create_mutex_group(required=False, title="shapes")

Mode = Literal["general", "overfit", "fused", "smooth", "overfit_box"]


@command
class DeviceArgs(Command):
    """Command that computes with torch on a selectable device."""

    device: str = "auto"
    """Compute device: auto, cpu, cuda, cuda:N, or mps (Apple; see README.md)."""


@command
class SpaceArgs(DeviceArgs):
    """Command that uses a trained space."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint folder of a trained space, name of one that comes with latentsdf (furniture), or hf://user/space on
    Hugging Face."""
    no_verify: bool = False
    """Read the files of spaces and fits without comparing them with their checksums."""

    def load_space(self) -> "ShapeSpace":
        """Load the space onto the selected device."""
        from latentsdf.space import load

        return load(self.checkpoint, self.device, verify=not self.no_verify)


@command
class CardArgs(Command):
    """Command that writes the model card of a space."""

    license: Annotated[str | None, UNSET] = None
    """Identifier of the license of the space for its model card, such as cc-by-4.0."""
    description: Annotated[str | None, UNSET] = None
    """Text for the model card, in Markdown: what the shapes are, and where they come from."""
    metrics: OptionalPath = None
    """File metrics.json of `latentsdf evaluate --out`, for the model card."""
    name: Annotated[str | None, UNSET] = None
    """Name of the space in its model card (default: that of the folder or the repository)."""
    no_picture: bool = False
    """Do not render shapes for the model card."""
    overwrite_card: bool = False
    """Replace a model card that was written or changed by hand."""

    def card_options(self) -> dict[str, Any]:
        """Return the options of `ShapeSpace.save_packed` for the model card that are given."""
        texts = {"license": self.license, "description": self.description, "metrics": self.metrics, "name": self.name}
        given: dict[str, Any] = {name: value for name, value in texts.items() if value is not None}
        given |= {"picture": False} if self.no_picture else {}
        return given | ({"overwrite_card": True} if self.overwrite_card else {})


@command
class PackArgs(CardArgs):
    """Command that writes a small copy of a space."""

    half: bool = False
    """Round weights and codes to float16; the effect on distances and surfaces is measured."""
    grid_bits: Annotated[int | None, integer(2), UNSET] = None
    """Round the grid to integers and compress them; the step is the spread of a channel times 2^(3 - bits), 2 to 8."""
    keep: Annotated[int | None, integer(1), _KEPT, UNSET] = None
    """Number of training shapes whose codes are kept, spread over the categories (default: all). The distribution of
    all codes is kept, so that sampling and inversion do not change."""
    ids: Annotated[tuple[str, ...] | None, string_list("ID"), _KEPT, UNSET] = None
    """Training shapes whose codes are kept: id or category/id."""

    def pack_options(self) -> dict[str, Any]:
        """Return the options of `ShapeSpace.save_packed` that are given."""
        given: dict[str, Any] = {
            "half": self.half or None,
            "grid_bits": self.grid_bits,
            "keep": self.keep,
            "ids": self.ids,
        }
        return {name: value for name, value in given.items() if value is not None} | self.card_options()


@command
class PointFileArgs(Command):
    """Command that reads point files."""

    columns: Annotated[tuple[str, ...] | None, column_order(), UNSET] = None
    """Meaning of the columns of a table of points, such as x,y,z,nx,ny,nz,-: coordinates, normals, sdf (signed
    distance), or - for a column to ignore (default: by the names above the columns, or by their values)."""


@command
class ModeArgs(Command):
    """Command that decodes shapes."""

    mode: Mode = "fused"
    """Branch to extract. general: the general branch, without detail. overfit: the overfit branch, with detail. fused:
    the overfit branch in a narrow band around the surface, the general branch elsewhere. smooth: like fused, with a
    gradual transition between the branches. overfit_box: the overfit branch in the whole box, with all surfaces that it
    has where it was not trained."""


@command
class DecodeArgs(ModeArgs):
    """Command that extracts meshes."""

    resolution: Annotated[int, cells_per_axis()] = 256
    """Cells per axis."""


@command
class RefineArgs(Command):
    """Command that can refine inversions."""

    refine: bool = False
    """Also store the detail of a mesh that its code cannot represent, as delta.npz in the fit."""
    budget_kb: Annotated[float | None, finite_float(0), UNSET] = None
    """Maximum size of the detail in kB; 0 for no limit, which takes megabytes and longer; implies --refine (default:
    64)."""
    refine_seconds: Annotated[float | None, positive_float(), UNSET] = None
    """Time budget of the refinement per shape; implies --budget-kb 0."""

    def refinement(self, seed: int) -> "RefineConfig | None":
        """Return the settings of the refinement, or None if it is not requested."""
        from latentsdf.config.inversion import RefineConfig

        if self.refine_seconds is not None:
            if self.budget_kb:
                raise ConfigError("--refine-seconds limits the refinement without a limit of size; remove --budget-kb")
            return RefineConfig(seconds=self.refine_seconds, seed=seed, budget_kb=0)
        if self.budget_kb is not None:
            return RefineConfig(budget_kb=self.budget_kb, seed=seed)
        return RefineConfig(seed=seed) if self.refine else None


@command
class InvertMethodArgs(Command):
    """Command that fits codes to shapes by a selectable method."""

    method: Literal["gauss_newton", "adam"] = "gauss_newton"
    """gauss_newton: the solver of latentsdf. adam: a published inversion, by gradient steps from one random start."""
    recipe: Annotated[Literal["deepsdf", "compact_sdf", "igr"] | None, UNSET] = None
    """With --method adam: whose published numbers to use (default: those of the preset of the space)."""

    def method_settings(self, training: "Config | None", **replaced: Any) -> dict[str, Any]:
        """Return the settings `method` and `adam` of `InvertConfig`.

        Args:
            training: Configuration of the space, to which the numbers of --method adam belong.
            **replaced: Settings of `AdamConfig` to replace; only with --method adam.

        Raises:
            ConfigError: --recipe is given without --method adam.
        """
        from latentsdf.config.inversion import adam_recipe, adam_recipe_name
        from latentsdf.config.training import Config
        from latentsdf.utils.console import show_note

        if self.method != "adam":
            if self.recipe is not None:
                raise ConfigError("--recipe has the numbers of published inversions; also pass --method adam")
            return {}
        training = training or Config()
        adam = dataclasses.replace(adam_recipe(training, self.recipe), **replaced)
        show_note(
            "adam",
            f"as {self.recipe or adam_recipe_name(training)}: {adam.steps:,} steps at {adam.lr:g}, the second half at "
            f"{adam.lr * adam.lr_drop:g}, {adam.points:,} points per step",
        )
        return {"method": "adam", "adam": adam}


@command
class InvertArgs(InvertMethodArgs):
    """Command that fits codes to shapes."""

    steps: Annotated[int | None, integer(1), UNSET] = None
    """Maximum number of Gauss-Newton steps (default: 40), or number of Adam steps."""
    starts: Annotated[int | None, integer(1), UNSET] = None
    """Number of initial codes, most of which are left behind early (default: 32); not with --method adam."""
    points: Annotated[int | None, integer(1), UNSET] = None
    """Number of samples of the target used by the fit (default: 2048), or by a step of Adam."""
    prior: Annotated[float | None, finite_float(0), UNSET] = None
    """Weight of the prior, which keeps the code near the training codes (default: 1e-06), or, with --method adam, small
    (default: that of the publication)."""
    partial: bool = False
    """The target covers only part of a shape; the prior completes the rest."""
    align: bool = False
    """Also estimate the scale, rotation about y and translation of the target."""
    frame: Annotated[Literal["shape", "model"], frame_name()] = "shape"
    """Frame of the target. shape: its own, normalized like a training shape. model: already in model space."""
    seed: Annotated[int, integer(0)] = 0
    """Seed of the sampling of the target."""

    def inversion(self, training: "Config | None" = None, *, by_layer: bool = False) -> "InvertConfig":
        """Return the settings of the inversion.

        Args:
            training: Configuration of the space.
            by_layer: After the shared code, fit one code per conditioned layer.

        Raises:
            ConfigError: An argument belongs to another method.
        """
        from latentsdf.config.inversion import InvertConfig

        limits = {"steps": self.steps, "starts": self.starts, "points": self.points, "prior": self.prior}
        given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
        if self.method == "adam":
            if self.starts not in (None, 1):
                raise ConfigError("published inversions have one start; leave out --starts, or --method adam")
            given = self.method_settings(training, **given)
        else:
            given |= self.method_settings(training)
        return InvertConfig(
            by_layer=by_layer,
            partial=self.partial,
            align=self.align,
            frame=self.frame,
            seed=self.seed,
            **given,
        )

    def reject_invert_args(self) -> None:
        """Raise ConfigError if arguments of the inversion are given although nothing is inverted."""
        unset: dict[str, object] = {"method": "gauss_newton", "recipe": None}
        unset |= {"steps": None, "starts": None, "points": None, "prior": None}
        unset |= {"partial": False, "align": False, "frame": "shape", "seed": 0}
        without_effect = [f"--{name}" for name, value in unset.items() if getattr(self, name) != value]
        if without_effect:
            raise ConfigError(f"{' and '.join(without_effect)} would have no effect: only a --mesh query is inverted")


def training_line(store: Path | ObjectPath) -> str:
    """Return the command line that trains a space on a sample store."""
    from latentsdf.data import import_pointclouds
    from latentsdf.data.store import SampleStore

    store = locate(store)
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


def create_output_folder(path: Path | None, advice: str = "choose another --out") -> None:
    """Create an output folder, so that an unusable path is reported before the computation.

    If the command fails before it writes anything, `remove_empty_output_folders` removes the folder again.

    Args:
        path: The folder; None for no output.
        advice: What to do if the folder is unusable.

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
        raise ConfigError(f"{path}: cannot be created as a folder ({error.strerror}); {advice}") from error
    if not os.access(path, os.W_OK):
        raise ConfigError(f"{path}: is not writable; {advice}")


def remove_empty_output_folders() -> None:
    """Remove the output folders that this process created and left empty."""
    while _created:
        with suppress(OSError):  # not empty
            _created.pop().rmdir()
