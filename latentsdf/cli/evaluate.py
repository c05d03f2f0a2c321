"""`latentsdf evaluate`: compare reconstructions with reference meshes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from latentsdf.cli.arg_types import UNSET, OptionalPath, cells_per_axis, integer, positive_list
from latentsdf.cli.common_args import InvertMethodArgs, ModeArgs, RefineArgs, SpaceArgs, create_output_folder
from latentsdf.cli.parser import command
from latentsdf.config.inversion import InvertConfig
from latentsdf.utils.console import console, show_note
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.output_folders import require_no_links

if TYPE_CHECKING:
    import trimesh

    from latentsdf.config.training import Config
    from latentsdf.data.mesh_datasets import ShapeFile
    from latentsdf.evaluation.protocol_result import ProtocolEvaluation
    from latentsdf.space import CodeLike, ShapeSpace

_RESOLUTION, _POINTS = 256, 100_000


@command
class Evaluate(ModeArgs, RefineArgs, InvertMethodArgs, SpaceArgs):
    """Compare reconstructions with reference meshes: distances, F-scores, missing parts, debris, IoU.

    With --protocol, as a publication does; then the result may also be a folder of latentsdf reconstruct.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_train.json --json",
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_test.json --invert "
        "--out unseen/",
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --fits fits/ --taus 0.005 0.01",
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --colors error --out metrics/",
        "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --invert --protocol compact_sdf",
        "latentsdf evaluate solid/ --meshes truth.xyz --scans scan.ply --protocol srb",
    )

    meshes: Path
    """Folder of reference meshes, searched recursively; with --protocol also of points, or one file of either."""
    protocol: Annotated[Literal["compact_sdf", "deepsdf", "srb", "hotspot", "steik", "medial_axis"] | None, UNSET] = (
        None
    )
    """Measure as in a publication, and print its definition and the sampling floor: what a perfect reconstruction would
    get."""
    scans: OptionalPath = None
    """With --protocol: folder or file of the points from which the shapes were reconstructed, named like the
    references; with --invert, codes are fitted to them."""
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
    resolution: Annotated[int | None, cells_per_axis(), UNSET] = None
    """Cells per axis (default: 256, or that of the protocol)."""
    points: Annotated[int | None, integer(1), UNSET] = None
    """Number of surface samples per mesh (default: 100000, or that of the protocol)."""
    rays: Annotated[int | None, integer(0), UNSET] = None
    """With --protocol hotspot: pixels per side of the ten images whose sphere tracing steps are counted; 0 for none
    (default: 500)."""
    taus: Annotated[tuple[float, ...], positive_list(), UNSET] = ()
    """Thresholds of the F-score, below 1 (default: 0.005 0.01)."""
    reference: Literal["samples", "vertices"] = "samples"
    """Points of the reference meshes to compare with: surface samples, or the vertices as in Compact-SDF."""
    seed: Annotated[int, integer(0)] = 0
    """Seed of sampling and refinement."""
    out: OptionalPath = None
    """Folder for metrics.json, metrics.csv and, without --protocol, worst.png (the 12 worst shapes)."""
    colors: Literal["none", "error"] = "none"
    """error: also write each reconstruction, in model space, to OUT/errors/NAME.glb, with vertex normals and the
    distances of its vertices to the reference as colors (blue gray at 0, dark red from 0.02 on)."""

    def run(self) -> dict[str, Any]:
        """Evaluate and print a table; returns all metrics."""
        self._require_consistent()
        create_output_folder(self.out)
        if self.protocol is not None:
            return self._run_protocol()
        from latentsdf.data.mesh_datasets import find_meshes
        from latentsdf.evaluation.evaluate import evaluate, load_references
        from latentsdf.geometry.metrics.surface import F_SCORE_THRESHOLDS
        from latentsdf.rendering.sheets import comparison_sheet, save_png

        space = self.load_space()
        found = find_meshes(self.meshes, split=self.split)
        fits, unreadable = self._load_fits(space, {file.id for file in found})
        if fits is not None:
            found = [file for file in found if file.id in fits]
        references, failed = load_references(found, space.keys)
        evaluation, reconstructions = evaluate(
            space,
            references,
            unseen=self.invert,
            resolution=self.resolution or _RESOLUTION,
            mode=self.mode,
            points=self.points or _POINTS,
            seed=self.seed,
            taus=self.taus or F_SCORE_THRESHOLDS,
            against=self.reference,
            inversion=self._inversion(space.config),
            refinement=self.refinement(self.seed),
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

    def _require_consistent(self) -> None:
        """Raise ConfigError for arguments that exclude each other or would have no effect."""
        if self.refinement(self.seed) is not None and not self.invert:
            raise ConfigError("--refine requires --invert; training shapes and existing fits are not refined")
        if self.one_code and not self.invert:
            raise ConfigError(
                "--one-code requires --invert; training shapes have one code, and existing fits are evaluated as saved"
            )
        if (self.method != "gauss_newton" or self.recipe is not None) and not self.invert:
            raise ConfigError("--method and --recipe require --invert; existing fits are evaluated as saved")
        if self.invert and self.fits is not None:
            raise ConfigError("--fits evaluates existing fits; leave out --invert")
        if self.protocol is None:
            for name in ("scans", "rays"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"--{name} requires --protocol")
        else:
            given = {"taus": self.taus, "reference": self.reference != "samples", "colors": self.colors != "none"}
            for name in (name for name, value in given.items() if value):
                raise ConfigError(f"--{name} would have no effect: the protocol defines what is measured")
        if self.colors != "none" and self.out is None:
            raise ConfigError("--colors error writes meshes; also pass --out FOLDER")

    def _inversion(self, training: "Config") -> InvertConfig:
        settings = self.method_settings(training) if self.invert else {}
        return InvertConfig(by_layer=not self.one_code, **settings)

    def _load_fits(self, space: "ShapeSpace", names: set[str]) -> "tuple[dict[str, CodeLike] | None, dict[str, str]]":
        """Read the fits of --fits, if it is given, and the reasons for those that cannot be read."""
        from latentsdf.latent.inversion.fit_folder import load_fits

        if self.fits is None:
            return None, {}
        fitted, unreadable = load_fits(self.fits, names, space.fingerprint, verify=not self.no_verify)
        return dict(fitted), unreadable

    def _run_protocol(self) -> dict[str, Any]:
        """Evaluate by a protocol; returns its result."""
        from latentsdf.reconstruction.result import FIELD_FILES

        is_field = (self.checkpoint / FIELD_FILES[0]).is_file()
        evaluation = self._evaluate_field() if is_field else self._evaluate_space()
        for line in evaluation.definition:
            console.print(line, soft_wrap=True, markup=False, highlight=False)
        console.print(evaluation.table())
        for name, reason in evaluation.failed.items():
            show_note("not evaluated", f"{name}: {reason}")
        if self.out is not None:
            evaluation.save(self.out)
            console.print(f"{self.out}: metrics.json, metrics.csv", soft_wrap=True)
        return evaluation.as_dict()

    def _protocol_options(self) -> dict[str, Any]:
        given = {"resolution": self.resolution, "samples": self.points, "rays": self.rays, "seed": self.seed}
        return {name: value for name, value in given.items() if value is not None}

    def _evaluate_field(self) -> "ProtocolEvaluation":
        """Evaluate a folder of latentsdf reconstruct."""
        from latentsdf.evaluation.evaluate_protocol import evaluate_protocol
        from latentsdf.reconstruction.planar import load_truth
        from latentsdf.reconstruction.result import load_field

        assert self.protocol is not None
        wrong = {"invert": self.invert, "fits": self.fits, "split": self.split, "augmented": self.augmented}
        wrong["mode"] = self.mode != "fused"
        for name in (name for name, value in wrong.items() if value):
            raise ConfigError(f"--{name}: {self.checkpoint} holds a single field, which has no codes; leave it out")
        field = load_field(self.checkpoint, self.device, verify=not self.no_verify)
        reference: Any = load_truth(self.meshes) if field.dim == 2 else self.meshes
        return evaluate_protocol(field, reference, self.protocol, scans=self.scans, **self._protocol_options())

    def _evaluate_space(self) -> "ProtocolEvaluation":
        from latentsdf.evaluation.evaluate import name_references
        from latentsdf.evaluation.evaluate_protocol import evaluate_protocol

        assert self.protocol is not None
        space = self.load_space()
        found = _find_references(self.meshes, self.split)
        fits, unreadable = self._load_fits(space, {file.id for file in found})
        if fits is not None:
            found = [file for file in found if file.id in fits]
        references = name_references(found, space.keys)
        scans: dict[str, Path] | None = None
        if self.scans is not None and self.scans.is_file() and len(references) == 1:
            scans = dict.fromkeys(references, self.scans)
        elif self.scans is not None:
            scans = name_references(_find_references(self.scans, None), space.keys)
        evaluation = evaluate_protocol(
            space,
            references,
            self.protocol,
            scans=scans,
            unseen=self.invert,
            fits=fits,
            inversion=self._inversion(space.config),
            refinement=self.refinement(self.seed),
            augmented=self.augmented,
            mode=self.mode,
            **self._protocol_options(),
        )
        evaluation.failed.update(unreadable)
        return evaluation

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to see the worst shapes."""
        if self.protocol is not None:
            return "" if self.out is not None else "add --out FOLDER to write the metrics of every shape"
        if self.out is not None:
            return f"look at the worst shapes in {self.out / 'worst.png'}"
        return "add --out FOLDER to write the metrics of every shape and images of the worst ones"

    def exit_code(self, result: dict[str, Any] | None) -> int:
        """Return 1 if no shape could be evaluated."""
        return 0 if result and result["shapes"] else 1


def _find_references(path: Path, split: Path | None) -> "list[ShapeFile]":
    """Find meshes and point clouds in a folder, or the one that a path names."""
    from latentsdf.data.mesh_datasets import ShapeFile, find_meshes
    from latentsdf.geometry.mesh import SUFFIXES
    from latentsdf.geometry.pointcloud import io
    from latentsdf.utils.shape_ids import key_part

    if path.is_file():
        return [ShapeFile(key_part(path.resolve().parent.name), key_part(path.stem), path)]
    return find_meshes(path, split=split, suffixes=(*SUFFIXES, *io.SUFFIXES))


def _save_colored(out: Path, reconstructions: "Mapping[str, trimesh.Trimesh]") -> None:
    """Write each reconstruction with its errors as colors; a name with a category becomes a folder and a file."""
    from latentsdf.geometry import mesh as meshes
    from latentsdf.geometry.metrics.vertex_errors import with_error_colors

    for name, mesh in reconstructions.items():
        require_no_links(out, "errors", *Path(name).parent.parts)
        meshes.save(with_error_colors(mesh, mesh.vertex_attributes["error"]), out / "errors" / f"{name}.glb")
    console.print(f"{out / 'errors'}: {len(reconstructions)} meshes with errors as colors", soft_wrap=True)
