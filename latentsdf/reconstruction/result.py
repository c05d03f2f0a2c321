"""A fitted field in the user's frame: distances, surface, picture, and a folder to keep it in."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
import yaml
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from skimage.measure import find_contours
from torch import Tensor, nn

from latentsdf.config import loader
from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.validation import require_finite
from latentsdf.extraction.extract import extract
from latentsdf.geometry.similarity import Similarity
from latentsdf.models.factory import build, build_phase
from latentsdf.utils import devices
from latentsdf.utils.errors import CheckpointError, ConfigError, EmptyLevelSetError
from latentsdf.utils.output_folders import require_writable_output
from latentsdf.utils.safetensors_io import save_tensors

FORMAT = 1
_CHUNK = 65_536
_PHASE = "phase."
_FILES = ("field.json", "config.yaml", "field.safetensors")


@dataclass(frozen=True)
class Reconstruction:
    """One shape's signed distance, negative inside. `history` has the mean of each term per 100 steps, and of
    what was left at the end."""

    network: nn.Module
    similarity: Similarity
    config: ReconstructConfig
    history: list[dict[str, float]] = field(default_factory=list)
    phase_field: nn.Module | None = None
    """Method `medial_axis`: points (N, d) of model space to v, about 0 on the medial axis and 1 away from it."""

    @property
    def dim(self) -> int:
        """2 or 3."""
        return len(self.similarity.center)

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.network.parameters()).device

    def distance(self, points: ArrayLike) -> NDArray[np.float32]:
        """Signed distances (N,) at points (N, d), both in the user's frame and units.

        Beyond the box in which the field was fitted: the distance to the box, plus the field there. Raises ConfigError
        for points of another shape, or not finite.
        """
        model = self._to_model(points)
        fitted = model.clamp(-self.config.extent, self.config.extent)
        with torch.no_grad():
            pieces = [self.network(piece.to(self.device)).cpu() for piece in fitted.split(_CHUNK)]
        distance = torch.cat(pieces) + (model - fitted).norm(dim=1)
        return np.asarray(distance.numpy() / np.float32(self.similarity.scale))

    def in_model_space(self, points: Float[Tensor, "N d"]) -> Float[Tensor, " N"]:
        """Signed distances at points of model space, both in its units, without gradients."""
        with torch.no_grad():
            return torch.cat([self.network(piece) for piece in points.split(_CHUNK)])

    def phase(self, points: ArrayLike) -> NDArray[np.float32]:
        """The phase (N,) in [0, 1] at points (N, d) of the user's frame, beyond the fitted box that of its side.

        ConfigError for a method without a phase field, and for points of another shape or not finite.
        """
        if self.phase_field is None:
            raise ConfigError(f"'{self.config.method}' learns no phase field; 'medial_axis' does")
        fitted = self._to_model(points).clamp(-self.config.extent, self.config.extent)
        with torch.no_grad():
            pieces = [self.phase_field(piece.to(self.device)).cpu() for piece in fitted.split(_CHUNK)]
        return np.asarray(torch.cat(pieces).numpy())

    def _to_model(self, points: ArrayLike) -> Tensor:
        array = np.asarray(points, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.dim:
            raise ConfigError(f"expected points (N, {self.dim}), got shape {array.shape}")
        model = torch.as_tensor(self.similarity.to_model(array), dtype=torch.float32)
        require_finite(model)
        return model

    def mesh(self, resolution: int = 256) -> trimesh.Trimesh:
        """The surface of a 3D field, in the user's frame; raises what `extract` raises."""
        if self.dim != 3:
            raise ConfigError("a 2D field has no mesh; ask for its `contours`")
        general: Callable[[Tensor], Tensor] = self.network
        found = extract(general, resolution=resolution, mode="general", device=self.device)
        return trimesh.Trimesh(self.similarity.to_user(found.vertices), found.faces, process=False)

    def contours(self, resolution: int = 1024) -> list[NDArray[np.float64]]:
        """The zero level set of a 2D field as polylines (K, 2) in the user's frame; EmptyLevelSetError for none."""
        if self.dim != 2:
            raise ConfigError("a 3D field has no contours; ask for its `mesh`")
        axis = np.linspace(-1.1, 1.1, resolution + 1)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        values = self.distance(self.similarity.to_user(grid)).reshape(resolution + 1, resolution + 1)
        lines = find_contours(values, 0.0)
        if not lines:
            raise EmptyLevelSetError(f"no zero between {values.min():.4g} and {values.max():.4g}; train longer")
        return [self.similarity.to_user(-1.1 + line * (2.2 / resolution)) for line in lines]

    def save(self, folder: Path | str) -> None:
        """Write the field to a folder that `load_field` reads; CheckpointError where that holds anything else."""
        folder = Path(folder)
        require_writable_output(folder, "field", overwrite=True)
        folder.mkdir(parents=True, exist_ok=True)
        about = {"format": FORMAT, "center": list(self.similarity.center), "scale": self.similarity.scale}
        weights = dict(self.network.state_dict())
        if self.phase_field is not None:
            weights |= {_PHASE + k: v for k, v in self.phase_field.state_dict().items()}
        (folder / "config.yaml").write_text(yaml.safe_dump(_plain(asdict(self.config)), sort_keys=False))
        save_tensors(weights, folder / "field.safetensors")
        (folder / "field.json").write_text(json.dumps(about | {"history": self.history}, indent=1))


def load_field(folder: Path | str, device: torch.device | str = "auto") -> Reconstruction:
    """Read what `Reconstruction.save` wrote; `device` is auto, cpu, cuda or cuda:N.

    Raises FileNotFoundError or CheckpointError naming what is missing.
    """
    folder, device = Path(folder), devices.resolve(device)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; make one with `latentsdf reconstruct`")
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder}: not a complete field, {', '.join(missing)} is missing")
    config = loader.load(ReconstructConfig, folder / "config.yaml")
    try:
        about = json.loads((folder / "field.json").read_text())
        weights = load_file(folder / "field.safetensors", device=str(device))
        similarity = Similarity(tuple(about["center"]), about["scale"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: damaged ({error}); reconstruct again") from error
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{folder}: field format {about.get('format')}, this version reads {FORMAT}")
    network = build(config.network, len(similarity.center), config.extent).to(device)
    phase = None
    if config.method == "medial_axis":
        phase = build_phase(config.medial, len(similarity.center)).to(device).requires_grad_(False)
    try:
        network.load_state_dict({k: v for k, v in weights.items() if not k.startswith(_PHASE)})
        if phase is not None:
            phase.load_state_dict({k.removeprefix(_PHASE): v for k, v in weights.items() if k.startswith(_PHASE)})
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the weights do not fit config.yaml; they come from different runs") from error
    return Reconstruction(network.requires_grad_(False), similarity, config, about["history"], phase)


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML has a plain form for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
