"""Folder of a reconstruction: the field, its surface, images and `report.json`.

Besides the field (`Reconstruction.save`) and `manifest.json` (`utils.artifacts`), a folder holds

| file | content |
|---|---|
| `mesh.ply` | 3D: surface in the user's frame |
| `slice_x.png`, `slice_y.png`, `slice_z.png` | 3D: level sets on the planes through the origin of model space |
| `steps.png` | 3D: sphere-tracing steps per pixel |
| `contours.json` | 2D: zero level set as polylines in the user's frame |
| `slice.png` | 2D: level sets |
| `phase.png` | method `medial_axis`: the phase field |
| `report.json` | method, last loss terms, tracing cost, accuracy against a ground truth |
"""

import json
from pathlib import Path
from typing import Any, get_args

import trimesh

from latentsdf.geometry import mesh as meshes
from latentsdf.reconstruction.accuracy import measure_accuracy
from latentsdf.reconstruction.planar import PlanarTruth, measure_planar
from latentsdf.reconstruction.plots import draw_distance, draw_phase
from latentsdf.reconstruction.result import RESULT_FILES, Reconstruction, write_field
from latentsdf.rendering.level_sets import Axis
from latentsdf.rendering.render import tracing_cost
from latentsdf.utils.artifacts import write_artifact
from latentsdf.utils.errors import ConfigError, EmptyLevelSetError
from latentsdf.utils.output_folders import require_writable_output

_CONTOUR_CELLS = 4  # per cell of `resolution`: planar lattices are cheap


def write_results(
    reconstruction: Reconstruction,
    folder: Path | str,
    *,
    resolution: int = 256,
    truth: trimesh.Trimesh | PlanarTruth | None = None,
    source: str | None = None,
) -> dict[str, Any]:
    """Write a field with its surface, images and `report.json` to a folder that `load_field` reads.

    An earlier reconstruction in the folder is replaced. Images and the report are also written if the field has no zero
    level set.

    Args:
        reconstruction: The field.
        folder: Output folder; created if needed.
        resolution: Cells per axis of the mesh; contours have four times as many.
        truth: Ground truth in the user's frame, a closed mesh in 3D or exact planar distances in 2D.
        source: Origin of the points, kept in the report.

    Returns:
        The content of `report.json`.

    Raises:
        ConfigError: The dimension of `truth` is not that of the field.
        CheckpointError: The folder holds results of another kind.
        EmptyLevelSetError: The field has no zero level set.
    """
    folder = Path(folder)
    if truth is not None and isinstance(truth, trimesh.Trimesh) != (reconstruction.dim == 3):
        raise ConfigError("the ground truth of a 3D field is a mesh, that of a 2D field a PlanarTruth")
    require_writable_output(folder, "field", overwrite=True)
    report: dict[str, Any] = {} if source is None else {"points": source}
    report |= {"method": reconstruction.config.method, "last": reconstruction.history[-1:]}
    empty: EmptyLevelSetError | None = None
    with write_artifact(folder, "field", RESULT_FILES) as staged:
        write_field(reconstruction, staged)
        if reconstruction.phase_field is not None:
            draw_phase(reconstruction).save(staged / "phase.png")
        try:
            if reconstruction.dim == 3:
                _write_solid(reconstruction, staged, resolution, truth, report)
            else:
                _write_planar(reconstruction, staged, resolution, truth, report)
        except EmptyLevelSetError as error:
            empty = error
        (staged / "report.json").write_text(json.dumps(report, indent=1))
    if empty is not None:
        raise empty
    return report


def _write_solid(
    reconstruction: Reconstruction,
    folder: Path,
    resolution: int,
    truth: trimesh.Trimesh | PlanarTruth | None,
    report: dict[str, Any],
) -> None:
    # Images first: extraction raises if there is no surface.
    for axis in get_args(Axis):
        draw_distance(reconstruction, axis=axis).save(folder / f"slice_{axis}.png")
    cost = tracing_cost(reconstruction.model_space_distance, device=reconstruction.device)
    cost.image.save(folder / "steps.png")
    report["tracing"] = {"mean": cost.mean, "p95": cost.p95, "unfinished": cost.unfinished}
    mesh = reconstruction.mesh(resolution)
    meshes.save(mesh, folder / "mesh.ply")
    if isinstance(truth, trimesh.Trimesh):
        report["accuracy"] = measure_accuracy(reconstruction, mesh, truth).as_dict()


def _write_planar(
    reconstruction: Reconstruction,
    folder: Path,
    resolution: int,
    truth: trimesh.Trimesh | PlanarTruth | None,
    report: dict[str, Any],
) -> None:
    draw_distance(reconstruction).save(folder / "slice.png")
    lines = reconstruction.contours(_CONTOUR_CELLS * resolution)
    (folder / "contours.json").write_text(json.dumps([line.tolist() for line in lines]))
    if isinstance(truth, PlanarTruth):
        report["accuracy"] = measure_planar(reconstruction, truth).as_dict()
