"""Evaluation by a published protocol: of a space, of one reconstructed field, in space or in the plane."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import trimesh

from latentsdf.config.arguments import check_arguments
from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.validation import Count, NonNegativeInt, Seed
from latentsdf.evaluation.evaluate import EvaluatedSpace, select_shapes
from latentsdf.evaluation.protocol_result import ProtocolEvaluation
from latentsdf.evaluation.protocols import PROTOCOLS, Figures, Protocol, ProtocolName, Subject, Surface
from latentsdf.extraction.extract import Mode, extract, require_resolution
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh import to_user_frame
from latentsdf.geometry.targets import read_target
from latentsdf.reconstruction.planar import PlanarTruth, measure_planar
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.rendering.step_counts import SIZE
from latentsdf.utils.arrays import describe
from latentsdf.utils.console import track
from latentsdf.utils.errors import ConfigError, LatentSDFError, MeshError

_RESULT = "result"  # name of the only shape, where there are no names
_PLANAR_DEFINITION = (
    "HotSpot (Wang et al. 2025), compute_metrics_2d.py, on the given lattice instead of 2048^2 points of [-2, 2]^2",
    "frame: own frame and units of the points",
    "iou: of u < 0 and d < 0 at the points of the lattice",
    "rmse, mae, smape: of u - d at the points of the lattice; near: where |d| <= 0.1",
    "cd_l1_half: (mean a + mean b) / 2 between contour vertices and the given points of the curve",
    "hausdorff: the larger of max a and max b",
    "floor: the same for the contours of the exact distances",
)


@check_arguments
def evaluate_protocol(
    result: EvaluatedSpace | Reconstruction,
    references: Any,
    protocol: ProtocolName,
    *,
    scans: Any = None,
    unseen: bool = False,
    fits: Mapping[str, Any] | None = None,
    inversion: InvertConfig | None = None,
    refinement: RefineConfig | None = None,
    augmented: bool = False,
    mode: Mode = "fused",
    resolution: int | None = None,
    samples: Count | None = None,
    rays: NonNegativeInt = SIZE,
    seed: Seed = 0,
) -> ProtocolEvaluation:
    """Measure reconstructions as a publication does (`evaluation.protocols` defines what that is).

    Surfaces are extracted in [-1, 1]^3 of model space, with all of their components.

    Args:
        result: Trained space, or a field that `reconstruct` returned.
        references: Of a space, meshes or points by name, of which training shapes are found by id or category/id; of a
            field, its mesh or points, or `PlanarTruth` for a planar field. They are in the frames of the shapes.
            Metrics that need the inside of the reference are left out where it consists of points.
        protocol: `compact_sdf`, `deepsdf`, `srb`, `hotspot`, `steik` or `medial_axis`.
        scans: Points from which the shapes were reconstructed, in the same form as the references. Protocols that
            measure against them use them; with `unseen`, codes are fitted to them instead of the references.
        unseen: Of a space: fit codes instead of looking shapes up among the training shapes.
        fits: Of a space: codes or inversions to evaluate instead, by the name of their reference.
        inversion: Settings of the fits.
        refinement: Also refine the fits to the references, which must be meshes.
        augmented: Of a space: also evaluate training shapes that are deformed copies of others.
        mode: Of a space: extraction mode. The field is the fused one for `fused` and `smooth`, otherwise that of a
            branch.
        resolution: Cells per axis instead of the published number.
        samples: Surface samples instead of the published number.
        rays: Protocol `hotspot`: pixels per side of the images whose sphere tracing steps are counted; 0 for none.
        seed: Seed of all samples.

    Returns:
        Definition, metrics and sampling floors. Shapes that fail are listed with their reasons.

    Raises:
        ConfigError: An option is out of range, or does not apply to the result.
        FileNotFoundError: There is no such file of a reference of a field.
        MeshError: The reference of a field is unusable, or the protocol does not measure planar fields.
        EmptyLevelSetError: A field has no surface.

    Example:
        >>> import latentsdf as ls
        >>> field = ls.reconstruct("scan.ply")
        >>> ls.evaluate_protocol(field, "truth.xyz", "srb", scans="scan.ply").summary()
    """
    chosen = PROTOCOLS[protocol]
    if resolution is not None:
        require_resolution(resolution)
    settings: dict[str, Any] = {
        "resolution": resolution or chosen.resolution,
        "samples": samples or chosen.samples,
        "rays": rays,
        "seed": seed,
    }
    if isinstance(result, Reconstruction):
        given = {"unseen": unseen, "fits": fits, "inversion": inversion, "refinement": refinement}
        given |= {"augmented": augmented, "mode": mode != "fused"}
        wrong = [name for name, value in given.items() if value]
        if wrong:
            raise ConfigError(f"{' and '.join(wrong)}: a single field has no codes; leave it out")
        if result.dim == 2:
            return _evaluate_planar(result, references, protocol, seed)
        return _evaluate_field(result, references, scans, protocol, settings)
    return _evaluate_space(
        result, references, scans, protocol, mode, settings, unseen, fits, inversion, refinement, augmented
    )


def _evaluate_field(
    result: Reconstruction, reference: Any, scan: Any, protocol: ProtocolName, settings: dict[str, Any]
) -> ProtocolEvaluation:
    surface, points = _read_reference(reference), None if scan is None else _read_scan(scan)
    field = result.field(frame="model")
    mesh = to_user_frame(extract(field, resolution=settings["resolution"]), result.similarity)
    subject = Subject(mesh, field, result.similarity, surface, points, **_subject(settings), device=result.device)
    values, floors = PROTOCOLS[protocol].measure(subject)
    return _collect(protocol, settings, {_RESULT: values}, {_RESULT: floors}, {}, {_RESULT: subject})


def _evaluate_space(
    space: EvaluatedSpace,
    references: Any,
    scans: Any,
    protocol: ProtocolName,
    mode: Mode,
    settings: dict[str, Any],
    unseen: bool,
    fits: Mapping[str, Any] | None,
    inversion: InvertConfig | None,
    refinement: RefineConfig | None,
    augmented: bool,
) -> ProtocolEvaluation:
    for name, given in (("references", references), ("scans", scans), ("fits", fits)):
        if not isinstance(given, Mapping) and (given is not None or name == "references"):
            raise ConfigError(f"{name} must be shapes by name, such as {{'chair': mesh}}, got {describe(given)}")
    failed: dict[str, str] = {}
    surfaces = _read_all(references, _read_reference, failed)
    points = _read_all({name: scan for name, scan in (scans or {}).items() if name in surfaces}, _read_scan, failed)
    if fits is None:
        targets = {name: points.get(name, surface) for name, surface in surfaces.items() if name not in failed}
        codes = select_shapes(space, targets, unseen, inversion, refinement, failed, augmented)
    else:
        codes = {name: fit for name, fit in fits.items() if name in surfaces}
        failed |= {name: "no reference of this name" for name in fits.keys() - surfaces.keys() - failed.keys()}
    shapes: dict[str, Figures] = {}
    floors: dict[str, Figures] = {}
    subjects: dict[str, Subject] = {}
    with track("evaluating", total=len(codes), unit="shape") as advance:
        for name, code in codes.items():
            try:
                similarity = space.similarity(code)
                mesh = space.extract(code, settings["resolution"], mode, smallest_piece=0.0)
                field = space.fused(code, frame="model") if mode in ("fused", "smooth") else None
                if field is None:
                    field = space.field(code, "general" if mode == "general" else "overfit", frame="model")
                subject = Subject(
                    mesh, field, similarity, surfaces[name], points.get(name), **_subject(settings), device=space.device
                )
                shapes[name], floors[name] = PROTOCOLS[protocol].measure(subject)
                subjects[name] = subject
            except LatentSDFError as error:
                failed[name] = str(error)
            advance()
    return _collect(protocol, settings, shapes, floors, failed, subjects)


def _evaluate_planar(result: Reconstruction, truth: Any, protocol: ProtocolName, seed: int) -> ProtocolEvaluation:
    if protocol != "hotspot":
        raise MeshError(f"'{protocol}' measures surfaces in space; a planar field is evaluated by 'hotspot'")
    if not isinstance(truth, PlanarTruth):
        raise MeshError(
            f"a planar field is compared with exact distances (reconstruction.planar.load_truth), got {describe(truth)}"
        )
    accuracy = measure_planar(result, truth)
    errors, curve, floor = accuracy.field.as_dict(), accuracy.curve, accuracy.floor
    values = {"cd_l1_half": curve.cd_l1_half, "hausdorff": curve.hausdorff, **errors}
    floors = {"cd_l1_half": floor.cd_l1_half, "hausdorff": floor.hausdorff}
    return ProtocolEvaluation(
        protocol, _PLANAR_DEFINITION, len(truth.curve), 1024, seed, {_RESULT: values}, {_RESULT: floors}, {}
    )


def _subject(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("samples", "seed", "rays")}


def _read_reference(target: Any) -> Surface:
    """Read a mesh, which is cleaned, or the points of a point cloud."""
    found = read_target(target)
    if isinstance(found, trimesh.Trimesh):
        return meshes.clean(found)[0]
    if found.dim != 3:
        raise MeshError(f"expected a reference in space, got planar points {found.points.shape}")
    return np.asarray(found.points, dtype=np.float64)


def _read_scan(target: Any) -> np.ndarray:
    """Read points; of a mesh, its vertices."""
    found = _read_reference(target)
    return np.asarray(found.vertices, dtype=np.float64) if isinstance(found, trimesh.Trimesh) else found


def _read_all(targets: Mapping[str, Any], read: Any, failed: dict[str, str]) -> dict[str, Any]:
    found = {}
    for name, target in targets.items():
        try:
            found[name] = read(target)
        except (LatentSDFError, OSError) as error:
            failed[name] = str(error)
    return found


def _collect(
    protocol: ProtocolName,
    settings: dict[str, Any],
    shapes: dict[str, Figures],
    floors: dict[str, Figures],
    failed: dict[str, str],
    subjects: Mapping[str, Subject],
) -> ProtocolEvaluation:
    chosen = PROTOCOLS[protocol]
    definition = _definition(chosen, settings, shapes, subjects)
    numbers = (settings["samples"], settings["resolution"], settings["seed"])
    return ProtocolEvaluation(protocol, definition, *numbers, shapes, floors, failed)


def _definition(
    protocol: Protocol, settings: dict[str, Any], shapes: Mapping[str, Figures], subjects: Mapping[str, Subject]
) -> tuple[str, ...]:
    """Describe what was measured, with the numbers that were used; metrics that no shape has are left out."""
    samples, resolution = settings["samples"], settings["resolution"]
    changed = "" if resolution == protocol.resolution else f" (published: {protocol.resolution})"
    count = f"{samples:,}" + ("" if samples == protocol.samples else f" (published: {protocol.samples:,})")
    measured = {name for row in shapes.values() for name in row}
    against = " or ".join(sorted({_against(protocol, one) for one in subjects.values()})) or "the reference"
    lines = [
        protocol.source,
        f"frame: {protocol.frame}",
        f"surface: marching cubes in [-1, 1]^3 of model space, {resolution} cells per axis{changed}, all components",
    ]
    for name, text in protocol.definitions.items():
        if name in measured:
            lines.append(f"{name}: {text.replace('{n}', count).replace('{reference}', against)}")
    missing = [name for name in protocol.definitions if name not in measured]
    if shapes and missing:
        lines.append(f"not measured: {', '.join(missing)} (no input scan, no inside of the reference, or no rays)")
    sampled = all(isinstance(subject.reference, trimesh.Trimesh) for subject in subjects.values())
    surface = "reference" if sampled else "reference, or of the reconstruction where the reference consists of points"
    lines.append(f"floor: the same metric of a perfect reconstruction, by a second sample set of the {surface}")
    return tuple(lines)


def _against(protocol: Protocol, subject: Subject) -> str:
    """Name the points with which samples of the reconstruction are compared."""
    if protocol.uses_scan and subject.scan is not None:
        return f"{len(subject.scan):,} points of the input scan"
    if not isinstance(subject.reference, trimesh.Trimesh):
        return f"the {len(subject.reference):,} points of the reference"
    return "the vertices of the reference" if protocol.uses_vertices else "as many samples of the reference"
