"""Reconstruction of the signed distance field of one point cloud, in 2D or 3D, without a shape space."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latentsdf.config.arguments import check_arguments
from latentsdf.config.reconstruction import LATTICE_METHODS, ReconstructConfig, with_field_options
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.geometry.pointcloud.published_frames import published_frame
from latentsdf.geometry.targets import read_points
from latentsdf.models.framed_network import FramedNetwork
from latentsdf.reconstruction.fit import FieldTrainer
from latentsdf.reconstruction.fit_checkpoint import FitCheckpoint
from latentsdf.reconstruction.heat_sdf import HeatMedialTrainer, HeatSDFTrainer
from latentsdf.reconstruction.lattice_methods import solve_on_lattice
from latentsdf.reconstruction.medial_axis import MedialAxisTrainer
from latentsdf.reconstruction.presets import preset
from latentsdf.reconstruction.result import Reconstruction, build_networks
from latentsdf.utils import devices
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.memory_limit import require_memory, training_bytes

_TRAINERS: dict[str, type[FieldTrainer]] = {
    "medial_axis": MedialAxisTrainer,
    "heat_sdf": HeatSDFTrainer,
    "heat_medial": HeatMedialTrainer,
}
"""Trainers of methods with losses or steps of their own."""


@check_arguments
def reconstruct(
    points: Any,
    normals: Any = None,
    method: str = "latentsdf",
    *,
    config: ReconstructConfig | None = None,
    device: str | torch.device = "auto",
    checkpoint: str | Path | None = None,
    **options: Any,
) -> Reconstruction:
    """Fit a signed distance field to a point cloud.

    The same points, configuration and device give the same field.

    Args:
        points: Points (N, 2) or (N, 3) in any frame and unit, points with normals (N, 6), a file of these, or any other
            form that `geometry.targets` lists; of a mesh, its vertices.
        normals: Normals of the points, of the same shape; their length is ignored.
        method: Name of a preset: `latentsdf`, `hotspot`, `medial_axis`, `steik`, `digs`, `nsh`, `siren`, `igr`, `sal`,
            `heat_sdf`, `heat_medial`, `instant_ngp`, `lipschitz`, `signed_heat` or `poisson` (3D, extra `open3d`).
        config: Configuration to use instead of the preset.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        checkpoint: File to which the state is saved every two minutes and on Ctrl-C. If it exists, the run continues
            from it. It is not removed at the end of the run; remove it after saving the result. Not used by
            `signed_heat` and `poisson`, which take seconds.
        **options: Settings of the section `train` of the configuration, such as `steps`, `minutes` and `seed`, and
            `denoise` and `extent`; they replace those of the preset or of `config`.

    Returns:
        The field in the frame and unit of the points.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: The cloud cannot be used.
        ConfigError: The method or a setting is unknown, a value is out of its range, the device is not available,
            or the network exceeds the memory.
        TrainingError: A loss or a parameter is not finite.
        CheckpointError: `checkpoint` is damaged, or of another cloud or configuration.
        MissingExtraError: `poisson` without Open3D.

    Example:
        >>> import latentsdf as ls
        >>> field = ls.reconstruct(points, method="hotspot", steps=2000)
        >>> field.distance(points)
        >>> field.mesh(256).export("surface.ply")
    """
    cloud = prepare_point_cloud(read_points(points, normals))
    config = with_field_options(preset(method, cloud.dim) if config is None else config, options)
    if config.method in LATTICE_METHODS and (unused := sorted({*options} - {"denoise", "extent"})):
        raise ConfigError(f"'{config.method}' has no training and does not use {' and '.join(unused)}; leave it out")
    where = devices.resolve(device)
    with devices.without_values():
        needed = training_bytes(*build_networks(config, cloud.dim))
    require_memory(needed, "the network", where, "lower the settings of the section model")
    if config.method in LATTICE_METHODS:
        lattice, history = solve_on_lattice(cloud, config, where)
        return Reconstruction(lattice.requires_grad_(False), cloud.similarity, config, history)
    frame = published_frame(cloud.points, config.normalization)
    trainer_type = _TRAINERS.get(config.method, FieldTrainer)
    trainer = trainer_type(replace(cloud, points=frame.to_model(cloud.points)), config, where)
    trainer.run(None if checkpoint is None else FitCheckpoint(checkpoint, cloud, config))
    phase = None
    if isinstance(trainer, MedialAxisTrainer | HeatMedialTrainer):
        phase = trainer.phase.requires_grad_(False)
    network = trainer.network
    if config.normalization != "sphere":
        network = FramedNetwork(network, cloud.dim, config.extent).to(where)
        network.center.copy_(torch.tensor(frame.center))
        network.scale.fill_(frame.scale)
    return Reconstruction(network.requires_grad_(False), cloud.similarity, config, trainer.history.entries, phase)
