"""One field from one raw point cloud, in 2D or 3D, without a shape space."""

from pathlib import Path

import torch
from numpy.typing import ArrayLike

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.fit import Fit
from latentsdf.reconstruction.medial_axis import MedialFit
from latentsdf.reconstruction.presets import METHODS, preset
from latentsdf.reconstruction.result import Reconstruction, load_field
from latentsdf.reconstruction.resume import Unfinished
from latentsdf.utils import devices

__all__ = ["METHODS", "Reconstruction", "load_field", "preset", "reconstruct"]


def reconstruct(
    points: ArrayLike,
    normals: ArrayLike | None = None,
    method: str = "latentsdf",
    *,
    config: ReconstructConfig | None = None,
    device: str | torch.device = "auto",
    unfinished: str | Path | None = None,
) -> Reconstruction:
    """Fit a signed distance to points (N, 2|3) in any frame; (N, 6) is taken as points with normals.

    `method` names a preset; `config` replaces it whole. Same seed, same field. The state of a long or a stopped run is
    kept in the file `unfinished`, from which the same call goes on; remove it once the result is saved. Raises
    MeshError for a cloud that cannot be used, ConfigError for settings that cannot, TrainingError where a loss is not
    finite, CheckpointError where `unfinished` is of another cloud or other settings.
    """
    cloud = prepare_point_cloud(points, normals)
    config = config or preset(method, cloud.dim)
    fit = (MedialFit if config.method == "medial_axis" else Fit)(cloud, config, devices.resolve(device))
    fit.run(None if unfinished is None else Unfinished(unfinished, cloud, config))
    phase = fit.phase.requires_grad_(False) if isinstance(fit, MedialFit) else None
    return Reconstruction(fit.network.requires_grad_(False), cloud.similarity, config, fit.history, phase)
