"""`latentsdf reconstruct`: fit one signed distance field to one point cloud, without a shape space."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from latentsdf.cli import legacy_flags
from latentsdf.cli.arg_types import UNSET, OptionalPath, cells_per_axis, integer, positive_float
from latentsdf.cli.common_args import DeviceArgs, PointFileArgs, create_output_folder
from latentsdf.cli.parser import command, is_help_requested
from latentsdf.cli.settings import (
    TOP_LEVEL,
    given_settings,
    migrate_setting,
    print_config,
    settings_type,
    with_defaults,
    with_settings,
)
from latentsdf.config.loader import load
from latentsdf.config.reconstruction import (
    HEAT_METHODS,
    LATTICE_METHODS,
    ReconstructConfig,
    ReconstructMethod,
    unused_sections,
)
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import CheckpointError, ConfigError, EmptyLevelSetError
from latentsdf.utils.output_folders import require_writable_output

_UNFINISHED = "unfinished.pt"
_UNLIMITED_STEPS = 10_000_000

if TYPE_CHECKING:
    import trimesh

    from latentsdf.reconstruction.planar import PlanarTruth

    FieldSettings = Any
else:
    FieldSettings = settings_type(ReconstructConfig, without=("method",))


@command
class Reconstruct(PointFileArgs, DeviceArgs):
    """Fit a signed distance field to one raw point cloud, in 2D or 3D.

    Settings start from the preset of --method, or from the file --config.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf reconstruct points.npy --out solid/",
        "latentsdf reconstruct scan.ply --method hotspot --minutes 5 --truth mesh.obj --out solid/",
        "latentsdf reconstruct points.npy --loss.heat 1.0 0.5 0.1 0.1 --out solid/",
        "latentsdf reconstruct points.npy --method digs --paper --print-config",
    )

    points: tyro.conf.Positional[Path]
    """File of points (N,2) or (N,3), or of points with normals (N,6): .npy .npz .txt .xyz .pts .csv .asc .ply .obj
    .las .laz .e57."""
    method: Annotated[ReconstructMethod | None, UNSET] = None
    """Reconstruction method (default: latentsdf). All need points of closed surfaces or curves; only siren needs
    normals.
    - latentsdf: estimates and orients normals itself; the most accurate and one of the fastest.
    - hotspot: no normals; close to a distance everywhere.
    - digs, steik, nsh: no normals; sharp details near the surface, not a distance far from it.
    - igr: uses normals if there are any; close to a distance, robust to noise, smooths details.
    - siren: needs normals; sharp details near the surface.
    - sal: no normals, not even estimated ones; a smooth surface, a distance also far from it.
    - medial_axis: no normals; accurate distances of single closed shapes, and their medial axis.
    - heat_sdf: no normals; even level sets; the cloud must have no large gaps.
    - heat_medial: heat_sdf with the terms and the medial axis of medial_axis.
    - instant_ngp: estimates and orients normals; a hash grid, for fine detail.
    - lipschitz: estimates and orients normals; never overestimates the distance, so that steps of its length are safe,
    for collision and sphere tracing; rounds off fine detail.
    - signed_heat: no training, seconds; uses normals or estimates them; closes gaps, smooths details.
    - poisson: 3D, no training, seconds; needs the extra open3d; uses normals or estimates them; the usual baseline."""
    paper: bool = False
    """Use the published settings of the method instead of those sized for two CPU cores."""
    out: Path
    """Folder for the field, mesh, images and report.json."""
    config: Annotated[Path | None, UNSET] = None
    """YAML file that replaces the preset of --method, such as the config.yaml of an earlier result."""
    overwrite: bool = False
    """Replace the reconstruction in --out."""
    resume: bool = False
    """Continue the unfinished run in --out."""
    steps: Annotated[int | None, integer(), UNSET] = None
    """Number of optimization steps (--train.steps)."""
    minutes: Annotated[float | None, positive_float(), UNSET] = None
    """Time budget of the optimization (--train.minutes)."""
    resolution: Annotated[int, cells_per_axis()] = 256
    """Cells per axis of the mesh."""
    truth: OptionalPath = None
    """Ground truth for accuracy metrics in the report: a closed mesh, or in 2D an .npz with sdf_grid, grid_axis and
    surface_points."""
    seed: Annotated[int, integer(0)] = 0
    """Seed of initialization and sampling (--train.seed)."""
    print_config: bool = False
    """Print the resulting configuration as YAML with the meaning of every setting, and exit."""
    settings: Annotated[FieldSettings, TOP_LEVEL] = field(default_factory=FieldSettings)

    @classmethod
    def migrate_setting(cls, flag: str, args: Sequence[str]) -> dict[str, list[str]] | None:
        """Convert a setting of an earlier version to its current name."""
        return migrate_setting(ReconstructConfig, flag, args)

    @classmethod
    def defaults(cls, args: Sequence[str]) -> "Reconstruct":
        """Return the settings of the file --config, or of the 3D preset of --method, as defaults."""
        from latentsdf.reconstruction.presets import preset

        name, method = legacy_flags.option(args, "--config"), legacy_flags.option(args, "--method")
        if name is not None:
            config = load(ReconstructConfig, name)
        else:
            config = preset(method or "latentsdf", 3, "--paper" in args)
        missing = tyro.MISSING if is_help_requested(args) else Path()
        return cls(points=missing, out=missing, settings=with_defaults(FieldSettings, config))

    def run(self) -> dict[str, Any] | None:
        """Fit and write; returns the report."""
        if self.print_config:
            dim = self._dimension() if self.points != Path() else 3
            print_config(self.configuration(dim))
            return None
        from latentsdf.geometry import mesh as meshes
        from latentsdf.geometry.pointcloud.io import load_points
        from latentsdf.reconstruction.planar import load_truth
        from latentsdf.reconstruction.reconstruct import reconstruct
        from latentsdf.reconstruction.report import write_results

        points = load_points(self.points, self.columns)
        config = self.configuration(points.dim)
        if points.normals is not None and not _uses_normals(config):
            show_note("normals", f"of {self.points} are ignored: '{config.method}' does not use them")
        truth: trimesh.Trimesh | PlanarTruth | None = None
        if self.truth is not None:
            truth = load_truth(self.truth) if points.dim == 2 else meshes.load(self.truth)
        self._check_output()
        create_output_folder(self.out)
        unfinished = self.out / _UNFINISHED
        if not self.resume:
            unfinished.unlink(missing_ok=True)
        result = reconstruct(points, config=config, device=self.device, checkpoint=unfinished)
        result.save(self.out)  # first, because extraction and images take long
        try:
            report = write_results(result, self.out, resolution=self.resolution, truth=truth, source=str(self.points))
        except EmptyLevelSetError:
            unfinished.unlink(missing_ok=True)
            raise
        unfinished.unlink(missing_ok=True)
        last = result.history[-1]
        effort = f"{last['seconds']:.1f} s" if config.method in LATTICE_METHODS else f"{last['step']:,} steps"
        console.print(f"{self.out}: {config.method}, {effort}")
        return report

    def next_step(self, result: dict[str, Any] | None) -> str:
        """Return how to look at the result and how to use it in Python."""
        if result is None:
            return ""
        return f"look at the mesh or the images in {self.out}; in Python: latentsdf.load_field({str(self.out)!r})"

    def configuration(self, dim: int) -> ReconstructConfig:
        """Return the configuration of the run: the preset or the file, overridden by settings of the command line.

        Args:
            dim: Dimension of the points, 2 or 3, on which presets depend.

        Raises:
            ConfigError: A setting is unknown, out of range, or not used by the method.
        """
        from latentsdf.reconstruction.presets import preset

        if self.config is not None:
            if self.method is not None or self.paper:
                raise ConfigError("--config replaces the preset; leave out --method and --paper")
            base = load(ReconstructConfig, self.config)
        else:
            base = preset(self.method or "latentsdf", dim, self.paper)
        given = given_settings(self.settings, ReconstructConfig)
        sections = tuple(f"{name}." for name in unused_sections(base.method))
        unused = [name for name in given if name.startswith(sections)]
        if base.method in LATTICE_METHODS:
            unused += [name for name in ("steps", "minutes") if getattr(self, name) is not None]
        if unused:
            raise ConfigError(f"'{base.method}' does not use {' and '.join(unused)}; leave it out")
        if self.config is None or self.seed:
            given["train.seed"] = self.seed
        shortcuts = {"minutes": self.minutes, "steps": self.steps}
        given |= {f"train.{name}": value for name, value in shortcuts.items() if value is not None}
        if self.minutes is not None and self.steps is None:
            given.setdefault("train.steps", _UNLIMITED_STEPS)
        config: ReconstructConfig = with_settings(base, given)
        return config

    def _dimension(self) -> int:
        from latentsdf.geometry.pointcloud.io import load_points

        return load_points(self.points, self.columns).dim

    def _check_output(self) -> None:
        """Raise CheckpointError if an earlier run would be lost, or if there is no unfinished run to continue."""
        unfinished = (self.out / _UNFINISHED).is_file()
        if self.resume and not unfinished:
            raise CheckpointError(f"{self.out}: holds no unfinished reconstruction to continue; leave out --resume")
        if unfinished and not (self.resume or self.overwrite):
            raise CheckpointError(
                f"{self.out}: holds an unfinished reconstruction; pass --resume to continue, --overwrite to start "
                "again, or another --out"
            )
        require_writable_output(self.out, "field", overwrite=self.overwrite or self.resume)


def _uses_normals(config: ReconstructConfig) -> bool:
    if config.method in LATTICE_METHODS:
        return True
    if config.method in HEAT_METHODS:
        return config.heat_sdf.sides_from == "orientation"
    return any(config.loss.normals) or config.loss.uses_guide
