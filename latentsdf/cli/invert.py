"""`latentsdf invert`: fit codes to shapes."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro
from rich.text import Text

from latentsdf.cli.arg_types import path_list
from latentsdf.cli.common_args import DecodeArgs, InvertArgs, PointFileArgs, RefineArgs, SpaceArgs, create_output_folder
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.artifacts import holds_artifact
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import (
    CheckpointError,
    ConfigError,
    EmptyLevelSetError,
    LatentSDFError,
    MeshError,
    MissingExtraError,
    OutputError,
)
from latentsdf.utils.output_folders import require_no_links, require_writable_output

if TYPE_CHECKING:
    import trimesh

    from latentsdf.latent.inversion.fit_folder import Inversion
    from latentsdf.latent.inversion.observation import Observation
    from latentsdf.latent.retrieval import Hits
    from latentsdf.space import ShapeSpace, Target

_TARGETS = tyro.conf.arg(metavar="TARGET [TARGET ...]", help_behavior_hint="(required)")


@command
class Invert(DecodeArgs, RefineArgs, InvertArgs, PointFileArgs, SpaceArgs):
    """Fit codes to meshes, point clouds, or signed samples."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf invert checkpoints/chairs new_chair.obj --out fit/",
        "latentsdf invert checkpoints/chairs new_chair.obj --out fit/ --refine",
        "latentsdf invert checkpoints/chairs scan.ply --partial --align --out fit/",
        "latentsdf invert checkpoints/chairs a.obj b.obj c.obj --out fits/",
        "latentsdf invert checkpoints/chairs new_chair.obj --method adam --recipe deepsdf --out adam/",
    )

    target: Annotated[tuple[Path, ...], path_list("TARGET"), tyro.conf.Positional, _TARGETS]
    """Mesh file, points (.ply without faces, .npy .npz .xyz .pts .txt .csv .asc .las .laz .e57; normals are used when
    the file has them), or .npy of signed samples (N,4). Several targets are fitted in batches."""
    out: Path
    """Folder for code.npy, mesh.ply and report.json, which replace those of an earlier fit; for several targets, one
    subfolder per target, named after its file."""
    one_code: bool = False
    """Fit a single code per shape instead of one code per layer."""

    def run(self) -> dict[str, Any]:
        """Fit and write; returns the report, or the reports of several targets by name."""
        from latentsdf.geometry.pointcloud.io import load_mesh_or_points
        from latentsdf.latent.inversion.invert import BATCH_SIZE

        paths = self.target
        name, count = Counter(path.stem for path in paths).most_common(1)[0]
        if count > 1:
            raise ConfigError(f"{count} targets are named '{name}' and would share one output folder; rename them")
        alone = len(paths) == 1
        folders = {path: self.out if alone else self.out / path.stem for path in paths}
        for path, folder in folders.items():
            if not alone:
                require_no_links(self.out, path.stem)
            require_writable_output(folder, "fit", overwrite=True)
        space = self.load_space()
        config = self.inversion(space.config, by_layer=not self.one_code)
        refinement = self.refinement(self.seed)
        targets: dict[Path, Target] = {}
        observations: dict[Path, Observation] = {}
        reports: dict[Path, dict[str, Any]] = {}
        for path in paths:
            try:
                target = load_mesh_or_points(path, self.columns)
                if refinement is not None:
                    space.require_refinable(target, config, refinement)
                    targets[path] = target
                observations[path] = space.observe(target, config)
            except (MeshError, OSError) as error:
                if alone:
                    raise
                reports[path] = _report_failure(path, error)
        for path in observations:
            create_output_folder(folders[path])
        # Each batch is written before the next one starts, so that an interruption loses at most one batch.
        pending = list(observations)
        while pending:
            batch, pending = pending[:BATCH_SIZE], pending[BATCH_SIZE:]
            fits = space.invert_many([observations[path] for path in batch], config)
            for path, fit in zip(batch, fits, strict=True):
                try:
                    if refinement is not None:
                        fit = space.refine(fit, targets[path], refinement)
                    reports[path] = self._save(space, path, fit, folders[path])
                except OutputError:
                    raise  # a full disk would fail all others, too
                except (LatentSDFError, OSError) as error:
                    if alone:
                        raise
                    reports[path] = _report_failure(path, error)
        return reports[paths[0]] if alone else {path.stem: reports[path] for path in paths}

    def exit_code(self, result: dict[str, Any] | None) -> int:
        """Return 1 if no target could be fitted."""
        reports = (result or {}).values()
        return 1 if all(isinstance(report, dict) and report.keys() == {"failed"} for report in reports) else 0

    def next_step(self, result: dict[str, Any] | None) -> str:
        """Return how to improve a fit that is not good enough, or how to extract a good one in detail."""
        reports = {"": result or {}} if len(self.target) == 1 else result or {}
        name, report = next((name, report) for name, report in reports.items() if "failed" not in report)
        folder = self.out / name if name else self.out
        refinable = not (self.refinement(self.seed) or self.partial or self.align)
        if not report.get("ok", True) and refinable:
            words = ("invert", self.checkpoint, *self.target, "--out", self.out, "--refine")
            return f"add the detail that the code cannot represent: {command_line('latentsdf', *words)}"
        mesh = f"{folder.name}_512.ply"
        return command_line(
            "latentsdf", "extract", self.checkpoint, "--code", folder, "--resolution", 512, "--out", mesh
        )

    def _save(self, space: "ShapeSpace", target: Path, fit: "Inversion", out: Path) -> dict[str, Any]:
        """Write a fit and its mesh to a folder, replacing an older fit; returns the report.

        Raises:
            EmptyLevelSetError: The fit has no surface. All files except the mesh are written.
        """
        surface: trimesh.Trimesh | None = None
        empty: EmptyLevelSetError | None = None
        try:
            surface = space.extract(fit, self.resolution, self.mode)
        except EmptyLevelSetError as error:
            empty = error
        hits: Hits | None = None
        try:
            hits = space.nearest(fit, k=min(5, len(space.ids)))
        except (MissingExtraError, CheckpointError) as error:  # a damaged index does not keep a fit from being saved
            show_note("no nearest shapes", str(error))
        replaces = holds_artifact(out, "code.npy")
        report = fit.save(out, mesh=surface, target=target, nearest=hits)
        if empty is not None:
            raise empty
        nearest = f"; nearest {hits.ids[0]}" if hits else ""
        replaced = f"; replaced the earlier fit in {out}" if replaces else ""
        console.print(Text(f"{out}: {target.name} {fit.verdict}{nearest}{replaced}"), soft_wrap=True)
        for number, rival in enumerate(fit.rivals, 2):
            console.print(Text(f"  hypothesis {number}, cost {rival.margin:+.0%}: {rival.verdict}"), soft_wrap=True)
        return report


def _report_failure(target: Path, error: Exception) -> dict[str, Any]:
    """Print the reason for a failure; returns the entry that replaces the report of the target."""
    reason = str(error).removeprefix(f"{target}: ").removeprefix(f"{target.name}: ")
    show_note("failed", f"{target.name}: {reason}")
    return {"failed": reason}
