"""Evaluation of a space against meshes: reconstructions of training shapes, or inversions of unseen ones.

All metrics are measured in the space's model space (by default, the bounding sphere has radius 1/1.03), so that they
can be averaged over shapes with different units. `geometry.metrics.surface` defines the surface metrics,
`geometry.metrics.field` the errors of the fused field at uniform points of the box [-1, 1]^3, relative to the solid
that preprocessing derives from the mesh (`geometry.mesh_sdf.solid`).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import trimesh

from latentsdf.config.arguments import check_arguments
from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.sampling import Normalization, SamplingConfig
from latentsdf.config.validation import Count, NonNegativeCount, Seed
from latentsdf.data.mesh_datasets import ShapeFile
from latentsdf.evaluation.result import Evaluation
from latentsdf.extraction.extract import Mode
from latentsdf.extraction.field import Field
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.mesh_sdf.sampling import solid_from_config
from latentsdf.geometry.metrics.field import FieldErrors, compare_fields
from latentsdf.geometry.metrics.surface import (
    F_SCORE_THRESHOLDS,
    Reference,
    SurfaceComparison,
    compare_surfaces,
    require_valid_thresholds,
)
from latentsdf.geometry.metrics.vertex_errors import vertex_errors as distances_at_vertices
from latentsdf.geometry.similarity import Similarity
from latentsdf.geometry.targets import read_mesh
from latentsdf.latent.inversion.observation import Observation
from latentsdf.utils.arrays import describe
from latentsdf.utils.console import track
from latentsdf.utils.errors import ConfigError, LatentSDFError

FIELD_POINTS = 20_000
"""Default number of points at which fields are compared."""


@runtime_checkable
class EvaluatedSpace(Protocol):
    """The part of `ShapeSpace` that evaluation uses. `ShapeSpace` imports this package, so it is not imported here."""

    keys: list[str]
    ids: list[str]
    augmented: list[str]
    normalization: Normalization

    @property
    def device(self) -> torch.device: ...  # noqa: D102
    def __contains__(self, shape: object) -> bool: ...
    def row(self, *args: Any, **kwargs: Any) -> int: ...  # noqa: D102
    def similarity(self, *args: Any, **kwargs: Any) -> Similarity: ...  # noqa: D102
    def extract(self, *args: Any, **kwargs: Any) -> trimesh.Trimesh: ...  # noqa: D102
    def field(self, *args: Any, **kwargs: Any) -> Field: ...  # noqa: D102
    def fused(self, *args: Any, **kwargs: Any) -> Field: ...  # noqa: D102
    def distance(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102
    def gradient_norm(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102
    def observe(self, *args: Any, **kwargs: Any) -> Observation: ...  # noqa: D102
    def invert_many(self, *args: Any, **kwargs: Any) -> list[Any]: ...  # noqa: D102
    def refine(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102


@check_arguments
def evaluate(
    space: EvaluatedSpace,
    references: Mapping[str, Any],
    *,
    unseen: bool = False,
    resolution: int = 256,
    mode: Mode = "fused",
    points: Count = 100_000,
    seed: Seed = 0,
    taus: tuple[float, ...] = F_SCORE_THRESHOLDS,
    against: Reference = "samples",
    field_points: NonNegativeCount = FIELD_POINTS,
    inversion: InvertConfig | None = None,
    refinement: RefineConfig | None = None,
    fits: Mapping[str, Any] | None = None,
    augmented: bool = False,
    vertex_errors: bool = False,
) -> tuple[Evaluation, dict[str, trimesh.Trimesh]]:
    """Compare reconstructions of a space with reference meshes.

    Args:
        space: Trained space.
        references: Meshes by name, in any frame. Training shapes are found by id or category/id.
        unseen: Invert the meshes instead of looking them up among the training shapes.
        resolution: Cells per axis of the extraction.
        mode: Extraction mode.
        points: Surface samples per mesh.
        seed: Seed of the samples.
        taus: Thresholds of the F-score, in (0, 1).
        against: Points of the references, `samples` or `vertices` (`geometry.metrics.surface.compare_surfaces`).
        field_points: Points at which fields are compared; 0 for no comparison.
        inversion: Settings for inverting unseen shapes.
        refinement: Also refine the inversions of unseen shapes.
        fits: Codes or inversions to evaluate instead, by the name of their reference.
        augmented: Also evaluate training shapes that are deformed copies of others.
        vertex_errors: Store the distance of each vertex of a reconstruction to its reference, in model space, as
            `mesh.vertex_attributes["error"]` (`geometry.metrics.vertex_errors` makes colors of it).

    Returns:
        The metrics, and the reconstructions in model space by name. Shapes that fail are listed with
        their reasons in `Evaluation.failed`.

    Raises:
        ConfigError: Fewer than 1 point, or a threshold outside (0, 1).
    """
    require_valid_thresholds(taus)
    for name, given in (("references", references), ("fits", {} if fits is None else fits)):
        if not isinstance(given, Mapping):
            raise ConfigError(f"{name} must be shapes by name, such as {{'chair': mesh}}, got {describe(given)}")
    references, failed = _clean_references(references)
    if fits is None:
        codes = select_shapes(space, references, unseen, inversion, refinement, failed, augmented)
    else:
        without_reference = fits.keys() - references.keys() - failed.keys()
        failed.update({name: "no reference mesh of this name, or more than one" for name in without_reference})
        codes = {name: fit for name, fit in fits.items() if name in references}
    evaluation, reconstructions = measure(
        space,
        codes,
        references,
        resolution=resolution,
        mode=mode,
        points=points,
        seed=seed,
        taus=taus,
        against=against,
        field_points=field_points,
        vertex_errors=vertex_errors,
    )
    evaluation.failed.update(failed)
    return evaluation, reconstructions


def measure(
    space: EvaluatedSpace,
    codes: Mapping[str, Any],
    references: Mapping[str, trimesh.Trimesh],
    *,
    resolution: int = 256,
    mode: Mode = "fused",
    points: int = 100_000,
    seed: int = 0,
    taus: tuple[float, ...] = F_SCORE_THRESHOLDS,
    against: Reference = "samples",
    field_points: int = 0,
    vertex_errors: bool = False,
) -> tuple[Evaluation, dict[str, trimesh.Trimesh]]:
    """Compare decoded shapes with cleaned reference meshes of the same names.

    Args:
        space: Trained space.
        codes: Shapes by name.
        references: Cleaned meshes by name, in the frames of the shapes.
        resolution: Cells per axis of the extraction.
        mode: Extraction mode.
        points: Surface samples per mesh.
        seed: Seed of the samples.
        taus: Thresholds of the F-score.
        against: Points of the references.
        field_points: Points at which fields are compared; 0 for no comparison.
        vertex_errors: Store errors at vertices, see `evaluate`.

    Returns:
        The metrics, and the reconstructions in model space by name.
    """
    failed: dict[str, str] = {}
    shapes: dict[str, SurfaceComparison] = {}
    fields: dict[str, FieldErrors] = {}
    reconstructions: dict[str, trimesh.Trimesh] = {}
    with track("evaluating", total=len(codes), unit="shape") as advance:
        for name, code in codes.items():
            try:
                to_model = space.similarity(code).to_model
                mesh = space.extract(code, resolution, mode, frame="model")
                reference = trimesh.Trimesh(to_model(references[name].vertices), references[name].faces, process=False)
                if field_points > 0:
                    fields[name] = _field_errors(space, code, reference, field_points, seed)
                shapes[name] = compare_surfaces(mesh, reference, count=points, seed=seed, taus=taus, against=against)
                if vertex_errors:
                    mesh.vertex_attributes["error"] = distances_at_vertices(mesh, reference)
                reconstructions[name] = mesh
            except LatentSDFError as error:
                failed[name] = str(error)
            advance()
    settings = (space.normalization, mode, resolution, points, against, field_points, seed)
    return Evaluation(*settings, shapes, fields, failed), reconstructions


def _field_errors(space: EvaluatedSpace, code: Any, reference: trimesh.Trimesh, count: int, seed: int) -> FieldErrors:
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    exact = solid_from_config(reference, SamplingConfig())(points)
    predicted = space.distance(code, points, frame="model")
    return compare_fields(predicted, exact, space.gradient_norm(code, points, frame="model"))


def load_references(
    files: Sequence[ShapeFile], keys: Collection[str] = ()
) -> tuple[dict[str, trimesh.Trimesh], dict[str, str]]:
    """Read reference meshes.

    Args:
        files: Mesh files with their ids and categories.
        keys: Keys of the training shapes.

    Returns:
        Meshes by id, or by category/id where an id occurs in several categories of the files or of the training shapes;
        and the reason for each file that could not be read.
    """
    loaded: dict[str, trimesh.Trimesh] = {}
    failed: dict[str, str] = {}
    for name, path in name_references(files, keys).items():
        try:
            loaded[name] = meshes.load(path)
        except LatentSDFError as error:
            failed[name] = str(error)
    return loaded, failed


def name_references(files: Sequence[ShapeFile], keys: Collection[str] = ()) -> dict[str, Path]:
    """Return the paths of reference files by name; names and arguments are those of `load_references`."""
    names = [file.id for file in files], [key.partition("/")[2] for key in keys]
    repeated = {name for ids in names for name, count in Counter(ids).items() if count > 1}
    return {f"{file.category}/{file.id}" if file.id in repeated else file.id: file.path for file in files}


def _clean_references(references: Mapping[str, Any]) -> tuple[dict[str, trimesh.Trimesh], dict[str, str]]:
    cleaned: dict[str, trimesh.Trimesh] = {}
    failed: dict[str, str] = {}
    for name, mesh in references.items():
        try:
            cleaned[name] = meshes.clean(read_mesh(mesh, "evaluation"))[0]
        except LatentSDFError as error:
            failed[name] = str(error)
    return cleaned, failed


def select_shapes(
    space: EvaluatedSpace,
    references: Mapping[str, Any],
    unseen: bool,
    inversion: InvertConfig | None,
    refinement: RefineConfig | None,
    failed: dict[str, str],
    augmented: bool,
) -> dict[str, Any]:
    """Return the shapes of a space to evaluate: training shapes of the same names, or fits.

    Args:
        space: Trained space.
        references: Targets of the fits by name, in any form that the space inverts; cleaned meshes for a refinement.
        unseen: Fit codes to the targets instead of looking up their names.
        inversion: Settings of the fits.
        refinement: Also refine the fits.
        failed: Gets the reasons for shapes that are left out.
        augmented: Include training shapes that are deformed copies of others.
    """
    if unseen:
        return _invert_references(space, references, inversion, refinement, failed)
    known = {name for name in references if name in space}
    if not augmented:
        copies = {name for name in references if name in known and space.ids[space.row(name)] in space.augmented}
        failed.update({name: "a deformed copy of a training shape; pass --augmented" for name in copies})
        references = {name: mesh for name, mesh in references.items() if name not in copies}
    failed.update({name: "not a training shape of this space; pass --invert" for name in references.keys() - known})
    return {name: name for name in references if name in known}


def _invert_references(
    space: EvaluatedSpace,
    references: Mapping[str, Any],
    inversion: InvertConfig | None,
    refinement: RefineConfig | None,
    failed: dict[str, str],
) -> dict[str, Any]:
    observations: dict[str, Observation] = {}
    for name, mesh in references.items():
        try:
            observations[name] = space.observe(mesh, inversion)
        except LatentSDFError as error:
            failed[name] = str(error)
    inverted = space.invert_many(list(observations.values()), inversion, assess=False)  # measured by the caller
    fits = dict(zip(observations, inverted, strict=True))
    if refinement is not None:
        for name in list(fits):
            try:
                fits[name] = space.refine(fits[name], references[name], refinement)
            except LatentSDFError as error:
                failed[name] = f"refining: {error}"
                del fits[name]
    return dict(fits)
