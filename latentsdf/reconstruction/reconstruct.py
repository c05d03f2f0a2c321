"""Reconstruction of the signed distance field of one point cloud, in 2D or 3D, without a shape space."""

from pathlib import Path

import torch
from numpy.typing import ArrayLike

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.medial_axis import MedialAxisTrainer
from latentsdf.reconstruction.presets import preset
from latentsdf.reconstruction.result import Reconstruction
from latentsdf.reconstruction.resume import FitCheckpoint
from latentsdf.utils import devices


def reconstruct(
    points: ArrayLike,
    normals: ArrayLike | None = None,
    method: str = "latentsdf",
    *,
    config: ReconstructConfig | None = None,
    device: str | torch.device = "auto",
    checkpoint: str | Path | None = None,
) -> Reconstruction:
    """Fit a signed distance field to a point cloud.

    The same points, configuration and device give the same field.

    Args:
        points: Points (N, 2) or (N, 3) in any frame and unit, or points with normals (N, 6).
        normals: Normals of the points, of the same shape; their length is ignored.
        method: Name of a preset: `latentsdf`, `hotspot`, `medial_axis`, `steik`, `digs`, `siren` or `igr`.
        config: Configuration to use instead of the preset.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        checkpoint: File to which the state is saved every two minutes and on Ctrl-C. If it exists, the run continues
            from it. It is not removed at the end of the run; remove it after saving the result.

    Returns:
        The field in the frame and unit of the points.

    Raises:
        MeshError: If the cloud cannot be used.
        ConfigError: If the method is unknown, or the device is not available.
        TrainingError: If a loss or a parameter is not finite.
        CheckpointError: If `checkpoint` is damaged, or of another cloud or configuration.

    Example:
        >>> import latentsdf as ls
        >>> field = ls.reconstruct(points, method="hotspot")
        >>> field.distance(points)
        >>> field.mesh(256).export("surface.ply")
    """
    cloud = prepare_point_cloud(points, normals)
    config = config or preset(method, cloud.dim)
    trainer_type = MedialAxisTrainer if config.method == "medial_axis" else FieldTrainer
    trainer = trainer_type(cloud, config, devices.resolve(device))
    trainer.run(None if checkpoint is None else FitCheckpoint(checkpoint, cloud, config))
    phase = trainer.phase.requires_grad_(False) if isinstance(trainer, MedialAxisTrainer) else None
    network = trainer.network.requires_grad_(False)
    return Reconstruction(network, cloud.similarity, config, trainer.history.entries, phase)
