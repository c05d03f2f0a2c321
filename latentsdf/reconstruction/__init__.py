"""One field from one raw point cloud, in 2D or 3D, without a shape space."""

import torch
from numpy.typing import ArrayLike

from latentsdf import devices
from latentsdf.cloud_config import ReconstructConfig
from latentsdf.geometry.cloud import read_cloud
from latentsdf.reconstruction.fit import Fit
from latentsdf.reconstruction.medial import MedialFit
from latentsdf.reconstruction.presets import METHODS, preset
from latentsdf.reconstruction.result import Reconstruction, load_field

__all__ = ["METHODS", "Reconstruction", "load_field", "preset", "reconstruct"]


def reconstruct(
    points: ArrayLike,
    normals: ArrayLike | None = None,
    method: str = "latentsdf",
    *,
    config: ReconstructConfig | None = None,
    device: str | torch.device = "auto",
) -> Reconstruction:
    """Fit a signed distance to points (N, 2|3) in any frame; (N, 6) is taken as points with normals.

    `method` names a preset; `config` replaces it whole. Same seed, same field. Raises MeshError for a cloud that cannot
    be used, ConfigError for settings that cannot, TrainingError where a loss is not finite.
    """
    cloud = read_cloud(points, normals)
    config = config or preset(method, cloud.dim)
    fit = (MedialFit if config.method == "medial_axis" else Fit)(cloud, config, devices.resolve(device))
    fit.run()
    phase = fit.phase.requires_grad_(False) if isinstance(fit, MedialFit) else None
    return Reconstruction(fit.network.requires_grad_(False), cloud.similarity, config, fit.history, phase)
