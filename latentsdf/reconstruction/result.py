"""A fitted field in the user's frame: distances, zero level set, and the folder that stores it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from pydantic import Field as Range
from safetensors import SafetensorError
from safetensors.torch import load_file
from skimage.measure import find_contours
from torch import Tensor, nn

from latentsdf.config import loader
from latentsdf.config.arguments import check_arguments
from latentsdf.config.frames import Frame
from latentsdf.config.reconstruction import PHASE_METHODS, ReconstructConfig
from latentsdf.extraction.extract import extract
from latentsdf.extraction.field import Field, in_frame_of
from latentsdf.geometry.mesh import to_user_frame
from latentsdf.geometry.similarity import Similarity, in_frame, parse_similarity
from latentsdf.models.factory import build_network, build_phase_field
from latentsdf.models.framed_network import FramedNetwork, continued_distance
from latentsdf.utils import devices
from latentsdf.utils.arrays import as_points, describe
from latentsdf.utils.artifacts import Artifact, read_artifact, write_artifact
from latentsdf.utils.chunks import map_chunks
from latentsdf.utils.errors import CheckpointError, ConfigError, EmptyLevelSetError
from latentsdf.utils.finite import require_finite
from latentsdf.utils.json_files import parse_object
from latentsdf.utils.notebook import html_table
from latentsdf.utils.output_folders import require_writable_output
from latentsdf.utils.safetensors_io import save_tensors, shapes_of, tensor_shapes

FORMAT = 1
FIELD_FILES = ("field.json", "config.yaml", "field.safetensors")
"""Files that `Reconstruction.save` writes, besides `manifest.json`."""
RESULT_FILES = (
    *FIELD_FILES,
    "mesh.ply",
    *(f"slice_{axis}.png" for axis in "xyz"),
    "steps.png",
    "contours.json",
    "slice.png",
    "phase.png",
    "report.json",
)
"""All files of a reconstruction, most of which `reconstruction.report` writes."""
_PHASE_PREFIX = "phase."
_CONTOUR_HALF_SIDE = 1.1  # model space
ContourResolution = Annotated[int, Range(strict=True, ge=2, le=16_384)]


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """Signed distance field of one shape, negative inside, in the frame and unit of the fitted points.

    Returned by `reconstruct` and `load_field`. Positions and distances are in the shape's own frame, that of the fitted
    points, unless `frame="model"` is passed; `latentsdf.config.frames` defines both.
    """

    network: nn.Module
    """Maps points (N, d) in model space to signed distances (N,) in units of model space."""
    similarity: Similarity
    """Similarity transform between the user's frame and model space."""
    config: ReconstructConfig
    """Configuration of the fit."""
    history: list[dict[str, int | float]] = field(default_factory=list)
    """One entry per 100 steps, and one for the remaining steps: `step`, `seconds`, and the mean of each
    unweighted loss term."""
    phase_field: nn.Module | None = None
    """Methods `medial_axis` and `heat_medial`: maps points (N, d) of model space to v (N,), about 0 on the medial axis,
    1 away from it."""

    def __repr__(self) -> str:
        return f"<Reconstruction: {', '.join(f'{name} {value}' for name, value in self._summary().items())}>"

    def _repr_html_(self) -> str:
        """Return a short table for notebooks."""
        return html_table("Reconstruction", self._summary())

    def _summary(self) -> dict[str, object]:
        center = ", ".join(f"{value:.4g}" for value in self.similarity.center)
        return {
            "method": self.config.method,
            "dimension": self.dim,
            "center": f"({center})",
            "scale": f"{self.similarity.scale:.4g}",
            "device": self.device,
        }

    @property
    def dim(self) -> int:
        """Dimension of the points, 2 or 3."""
        return len(self.similarity.center)

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    @check_arguments
    def distance(self, points: ArrayLike, *, frame: Frame = "shape") -> NDArray[np.float32]:
        """Evaluate the signed distance.

        Outside the box in which the field was fitted, the value is the distance to the box plus the field at the
        nearest point of the box. A 1-Lipschitz field is not smaller there than the distance to the box, and never
        larger than the distance to its zero level set, also inside (`models.framed_network.continued_distance`).

        Args:
            points: Points (N, d) in the frame.
            frame: Frame of points and distances, `shape` or `model`.

        Returns:
            Signed distances (N,) in the unit of the frame.

        Raises:
            ConfigError: The points have another shape or are not finite, or the frame is unknown.
        """
        similarity = in_frame(self.similarity, frame)
        model_points = self._to_model_space(points, similarity)
        distance = self._evaluate(self._continued, model_points)
        return np.asarray(distance.numpy() / np.float32(similarity.scale))

    @check_arguments
    def field(self, *, frame: Frame = "shape") -> Field:
        """Return the signed distance of a 3D field as a function of tensors, for `union`, `extract` and `render`.

        Args:
            frame: Frame of points and distances, `shape` or `model`.

        Returns:
            Function from points (N, 3) on the device of the network to distances (N,), as often differentiable as the
            network; outside the box as for `distance`. It raises ConfigError for points that are not finite.

        Raises:
            ConfigError: The field is 2D, or the frame is unknown.
        """
        if self.dim != 3:
            raise ConfigError("a 2D field has no surface in space; use `distance` and `contours`")

        def distance(points: Tensor) -> Tensor:
            converted = points.to(next(self.network.parameters()))
            require_finite(converted)
            return self._continued(converted).to(points)

        return in_frame_of(distance, in_frame(self.similarity, frame), self.device)

    def model_space_distance(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Evaluate the network without gradients.

        Args:
            points: Points (N, d) in model space, on the device of the network.

        Returns:
            Signed distances (N,) in units of model space.
        """
        if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] != self.dim:
            raise ConfigError(f"points must be a tensor of shape (N, {self.dim}), got {describe(points)}")
        if points.device.type != self.device.type or points.layout is not torch.strided or points.is_complex():
            raise ConfigError(
                f"points must be a dense real tensor on {self.device}, got {points.layout} of {points.dtype} on "
                f"{points.device}"
            )
        with torch.no_grad():
            return map_chunks(self.network, points.float())

    @check_arguments
    def phase(self, points: ArrayLike, *, frame: Frame = "shape") -> NDArray[np.float32]:
        """Evaluate the phase field of the methods `medial_axis` and `heat_medial`.

        Args:
            points: Points (N, d) in the frame. Points outside the fitted box are moved to its nearest point.
            frame: Frame of the points, `shape` or `model`.

        Returns:
            Phase (N,) in [0, 1], about 0 on the medial axis and 1 away from it.

        Raises:
            ConfigError: The method has no phase field, or the points have another shape or are not finite.
        """
        if self.phase_field is None:
            raise ConfigError(f"'{self.config.method}' has no phase field; use 'medial_axis'")
        model_points = self._to_model_space(points, in_frame(self.similarity, frame))
        # The method is fitted in model space.
        clamped = model_points.clamp(-self.config.extent, self.config.extent)
        return np.asarray(self._evaluate(self.phase_field, clamped).numpy())

    @check_arguments
    def mesh(self, resolution: int = 256, *, frame: Frame = "shape") -> trimesh.Trimesh:
        """Extract the zero level set of a 3D field.

        Args:
            resolution: Cells per axis of the lattice over [-1, 1]^3 of model space.
            frame: Frame of the mesh, `shape` or `model`.

        Returns:
            Triangle mesh in the frame.

        Raises:
            ConfigError: The field is 2D, or the frame is unknown.
            EmptyLevelSetError: The field has no zero level set.
        """
        if self.dim != 3:
            raise ConfigError("a 2D field has no mesh; use `contours`")
        network: Callable[[Tensor], Tensor] = self.network
        mesh = extract(network, resolution=resolution, mode="general", device=self.device)
        return to_user_frame(mesh, in_frame(self.similarity, frame))

    @check_arguments
    def contours(self, resolution: ContourResolution = 1024, *, frame: Frame = "shape") -> list[NDArray[np.float64]]:
        """Extract the zero level set of a 2D field.

        Args:
            resolution: Cells per axis of the lattice over [-1.1, 1.1]^2 of model space.
            frame: Frame of the polylines, `shape` or `model`.

        Returns:
            Polylines (K, 2) in the frame; the first and last vertex of a closed one are equal.

        Raises:
            ConfigError: The field is 3D, or the frame is unknown.
            EmptyLevelSetError: The field has no zero level set.
        """
        if self.dim != 2:
            raise ConfigError("a 3D field has no contours; use `mesh`")
        axis = np.linspace(-_CONTOUR_HALF_SIDE, _CONTOUR_HALF_SIDE, resolution + 1)
        lattice = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        values = self.distance(self.similarity.to_user(lattice)).reshape(resolution + 1, resolution + 1)
        lines = find_contours(values, 0.0)
        if not lines:
            raise EmptyLevelSetError(
                f"no zero level set: values from {values.min():.4g} to {values.max():.4g}; train longer"
            )
        spacing = 2 * _CONTOUR_HALF_SIDE / resolution
        similarity = in_frame(self.similarity, frame)
        return [similarity.to_user(-_CONTOUR_HALF_SIDE + line * spacing) for line in lines]

    @check_arguments
    def save(self, folder: Path | str) -> None:
        """Write the field to a folder that `load_field` reads; an earlier reconstruction in it is replaced.

        `reconstruction.report.write_results` writes the field with surface, images and a report.

        Args:
            folder: Output folder; created if needed.

        Raises:
            CheckpointError: The folder holds results of another kind.
        """
        folder = Path(folder)
        require_writable_output(folder, "field", overwrite=True)
        with write_artifact(folder, "field", RESULT_FILES) as staged:
            write_field(self, staged)

    def _continued(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Evaluate the network at any points of model space, on its device."""
        if self.config.normalization != "sphere":
            distance: Tensor = self.network(points)  # a FramedNetwork, which is continued in its own frame
            return distance
        return continued_distance(self.network, points, self.config.extent)

    def _evaluate(self, network: Callable[[Tensor], Tensor], points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Evaluate a network on its device; points and result are on the CPU."""
        with torch.no_grad():
            return map_chunks(lambda chunk: network(chunk.to(self.device)).cpu(), points)

    def _to_model_space(self, points: ArrayLike, similarity: Similarity) -> Float[Tensor, "N d"]:
        array = as_points(points, self.dim)
        model_points = torch.as_tensor(similarity.to_model(array), dtype=torch.float32)
        require_finite(model_points)
        return model_points


def write_field(reconstruction: Reconstruction, folder: Path) -> None:
    """Write `FIELD_FILES` to an existing folder; a part of `Reconstruction.save` and `report.write_results`."""
    weights = dict(reconstruction.network.state_dict())
    if reconstruction.phase_field is not None:
        phase = reconstruction.phase_field.state_dict()
        weights |= {_PHASE_PREFIX + name: value for name, value in phase.items()}
    metadata = {
        "format": FORMAT,
        "manifest": True,
        "center": list(reconstruction.similarity.center),
        "scale": reconstruction.similarity.scale,
        "history": reconstruction.history,
    }
    (folder / "config.yaml").write_text(loader.to_yaml(reconstruction.config))
    save_tensors(weights, folder / "field.safetensors")
    (folder / "field.json").write_text(json.dumps(metadata, indent=1))


@check_arguments
def load_field(folder: Path | str, device: torch.device | str = "auto", *, verify: bool = True) -> Reconstruction:
    """Read a field that `Reconstruction.save` or `latentsdf reconstruct` wrote.

    Fields of version 0.1 can also be read.

    Args:
        folder: Folder of the field.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        verify: Compare the files with the checksums of `manifest.json`.

    Returns:
        The field.

    Raises:
        FileNotFoundError: The folder does not exist.
        CheckpointError: A file is missing or damaged, or of an unsupported format.
        ConfigError: `config.yaml` has an unknown setting or a value out of its range.
    """
    folder, device = Path(folder), devices.resolve(device)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; create one with `latentsdf reconstruct`")
    return read_artifact(folder, "field", RESULT_FILES, lambda artifact: _parse(artifact, device), verify=verify)


def _parse(artifact: Artifact, device: torch.device) -> Reconstruction:
    folder = artifact.folder
    missing = [name for name in FIELD_FILES if name not in artifact]
    if missing:
        raise CheckpointError(f"{folder}: not a complete field, {', '.join(missing)} is missing")
    config = loader.parse(ReconstructConfig, artifact.read_bytes("config.yaml"), str(folder / "config.yaml"))
    try:
        metadata = parse_object(artifact.read_bytes("field.json"))
        history = metadata["history"]
        similarity = parse_similarity(metadata["center"], metadata["scale"], dims=(2, 3))
        if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
            raise ValueError("expected a list of entries as history")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: damaged ({error}); reconstruct again") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{folder}: field format {metadata.get('format')!r}, but this version reads {FORMAT}")
    artifact.require_manifest(metadata.get("manifest"))
    weights_file = artifact.path("field.safetensors")
    try:
        # Compared before the networks are allocated: a damaged configuration may describe some of any size.
        with devices.without_values():
            expected = _shapes(*build_networks(config, len(similarity.center)))
        if expected != tensor_shapes(weights_file):
            raise CheckpointError(f"{folder}: the weights do not fit config.yaml; they come from different runs")
        network, phase_field = build_networks(config, len(similarity.center))
        weights = load_file(weights_file, device=str(device))
    except SafetensorError as error:
        raise CheckpointError(f"{folder}: damaged ({error}); reconstruct again") from error
    network.to(device).load_state_dict({k: v for k, v in weights.items() if not k.startswith(_PHASE_PREFIX)})
    if phase_field is not None:
        phase_field.to(device).load_state_dict(
            {name.removeprefix(_PHASE_PREFIX): v for name, v in weights.items() if name.startswith(_PHASE_PREFIX)}
        )
        phase_field.requires_grad_(False)
    return Reconstruction(network.requires_grad_(False), similarity, config, history, phase_field)


def build_networks(config: ReconstructConfig, dim: int) -> tuple[nn.Module, nn.Module | None]:
    """Build the network of a field of model space, and the phase network of the methods that have one.

    Args:
        config: Configuration of the fit.
        dim: Dimension of the points.
    """
    network = build_network(config.model, dim, config.extent)
    if config.normalization != "sphere":
        network = FramedNetwork(network, dim, config.extent)
    return network, build_phase_field(config.medial, dim) if config.method in PHASE_METHODS else None


def _shapes(network: nn.Module, phase_field: nn.Module | None) -> dict[str, tuple[int, ...]]:
    phase = {} if phase_field is None else shapes_of(phase_field)
    return shapes_of(network) | {_PHASE_PREFIX + name: shape for name, shape in phase.items()}
