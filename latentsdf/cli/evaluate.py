"""`latentsdf evaluate`: compare reconstructions with reference meshes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from latentsdf.cli.arg_types import UNSET, OptionalPath, integer, positive_list
from latentsdf.cli.common_args import DecodeArgs, RefineArgs, SpaceArgs, create_output_folder
from latentsdf.cli.parser import command
from latentsdf.config.inversion import InvertConfig
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.output_folders import require_no_links

if TYPE_CHECKING:
    import trimesh

    from latentsdf.space import CodeLike


@command
class Evaluate(DecodeArgs, RefineArgs, SpaceArgs):
    """Compare reconstructions with reference meshes: distances, F-scores, missing parts, debris, IoU."""

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_train.json --json",
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_test.json --invert "
        "--out unseen/",
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --fits fits/ --taus 0.005 0.01",
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --colors error --out metrics/",
    )

    meshes: Path
    """Folder of reference meshes, searched recursively."""
    split: OptionalPath = None
    """DeepSDF split file that selects meshes."""
    invert: bool = False
    """Invert each mesh first; for shapes that are not in the training set."""
    one_code: bool = False
    """With --invert: fit a single code per shape instead of one code per layer."""
    fits: OptionalPath = None
    """Folder written by latentsdf invert: evaluate its fits, matched to the meshes by name."""
    augmented: bool = False
    """Also evaluate training shapes that are deformed copies of others, if the folder has their meshes."""
    points: Annotated[int, integer(1)] = 100_000
    """Number of surface samples per mesh."""
    taus: Annotated[tuple[float, ...], positive_list(), UNSET] = ()
    """Thresholds of the F-score, below 1 (default: 0.005 0.01)."""
    reference: Literal["samples", "vertices"] = "samples"
    """Points of the reference meshes to compare with: surface samples, or the vertices as in Compact-SDF."""
    seed: Annotated[int, integer(0)] = 0
    """Seed of sampling and refinement."""
    out: OptionalPath = None
    """Folder for metrics.json, metrics.csv and worst.png (the 12 worst shapes)."""
    colors: Literal["none", "error"] = "none"
    """error: also write each reconstruction, in model space, to OUT/errors/NAME.glb, with vertex normals and the
    distances of its vertices to the reference as colors (blue gray at 0, dark red from 0.02 on)."""

    def run(self) -> dict[str, Any]:
        """Evaluate and print a table; returns all metrics."""
        from latentsdf.data.mesh_datasets import find_meshes
        from latentsdf.evaluation.evaluate import evaluate, load_references
        from latentsdf.geometry.metrics.surface import F_SCORE_THRESHOLDS
        from latentsdf.latent.inversion.fit_folder import load_fits
        from latentsdf.rendering.sheets import comparison_sheet, save_png

        refinement = self.refinement(self.seed)
        if refinement is not None and not self.invert:
            raise ConfigError("--refine requires --invert; training shapes and existing fits are not refined")
        if self.one_code and not self.invert:
            raise ConfigError(
                "--one-code requires --invert; training shapes have one code, and existing fits are evaluated as saved"
            )
        if self.invert and self.fits is not None:
            raise ConfigError("--fits evaluates existing fits; leave out --invert")
        if self.colors != "none" and self.out is None:
            raise ConfigError("--colors error writes meshes; also pass --out FOLDER")
        create_output_folder(self.out)
        space = self.load_space()
        found = find_meshes(self.meshes, split=self.split)
        fits: dict[str, CodeLike] | None = None
        unreadable: dict[str, str] = {}
        if self.fits is not None:
            fitted, unreadable = load_fits(
                self.fits, {file.id for file in found}, space.fingerprint, verify=not self.no_verify
            )
            fits = dict(fitted)
            found = [file for file in found if file.id in fits]
        references, failed = load_references(found, space.keys)
        evaluation, reconstructions = evaluate(
            space,
            references,
            unseen=self.invert,
            resolution=self.resolution,
            mode=self.mode,
            points=self.points,
            seed=self.seed,
            taus=self.taus or F_SCORE_THRESHOLDS,
            against=self.reference,
            inversion=InvertConfig(by_layer=not self.one_code),
            refinement=refinement,
            fits=fits,
            augmented=self.augmented,
            vertex_errors=self.colors == "error",
        )
        evaluation.failed.update(unreadable | failed)
        console.print(evaluation.table())
        for name, reason in evaluation.failed.items():
            show_note("not evaluated", f"{name}: {reason}")
        if self.out is not None:
            evaluation.save(self.out)
            worst = {name: references[name] for name in evaluation.worst(12)}
            if worst:
                save_png(self.out / "worst.png", comparison_sheet(worst, reconstructions))
            if self.colors == "error":
                _save_colored(self.out, reconstructions)
            console.print(f"{self.out}: metrics.json, metrics.csv" + (", worst.png" if worst else ""), soft_wrap=True)
        return evaluation.as_dict()

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to see the worst shapes."""
        if self.out is not None:
            return f"look at the worst shapes in {self.out / 'worst.png'}"
        return "add --out FOLDER to write the metrics of every shape and images of the worst ones"

    def exit_code(self, result: dict[str, Any] | None) -> int:
        """Return 1 if no shape could be evaluated."""
        return 0 if result and result["shapes"] else 1


def _save_colored(out: Path, reconstructions: "Mapping[str, trimesh.Trimesh]") -> None:
    """Write each reconstruction with its errors as colors; a name with a category becomes a folder and a file."""
    from latentsdf.geometry import mesh as meshes
    from latentsdf.geometry.metrics.vertex_errors import with_error_colors

    for name, mesh in reconstructions.items():
        require_no_links(out, "errors", *Path(name).parent.parts)
        meshes.save(with_error_colors(mesh, mesh.vertex_attributes["error"]), out / "errors" / f"{name}.glb")
    console.print(f"{out / 'errors'}: {len(reconstructions)} meshes with errors as colors", soft_wrap=True)
