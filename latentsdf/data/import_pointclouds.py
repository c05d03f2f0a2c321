"""Point clouds on disk -> records of a sample store: points of a surface, with normals or without, and nothing else.

Clouds are brought to model space like meshes. What needs signed distances says that such a shape has none; training
from `train.samples: points` needs none.
"""

import hashlib
from pathlib import Path

import numpy as np
import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.mesh_datasets import MeshFile
from latentsdf.data.records import ShapeRecord
from latentsdf.geometry.mesh_sdf.sampling import without_lattices
from latentsdf.geometry.pointcloud.io import SUFFIXES, load_mesh_or_points
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.utils.errors import MeshError, StoreError

CLOUDS = SamplingConfig(sparse_resolution=0, near=0, near_std=0.0, uniform=0, surface=0, sheet_thickness=0.0)
"""Settings of a store of clouds: nothing in it was sampled by us; `normalization` is the caller's."""

CLOUD_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != ".obj")
"""Files that a folder of clouds is searched for."""


def find_clouds(root: Path) -> list[MeshFile]:
    """Files in a tree of <category>/<id> that may be clouds."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in CLOUD_SUFFIXES and path.is_file())
    return [MeshFile(path.parent.name, path.stem, path) for path in found]


def read_record(file: MeshFile, config: SamplingConfig) -> ShapeRecord:
    """One cloud (N, 3) or (N, 6) as a shape of a store with settings `CLOUDS`; StoreError for what cannot be used."""
    try:
        table = load_mesh_or_points(file.path)
        if isinstance(table, trimesh.Trimesh):
            raise MeshError(f"{file.path.name}: has faces; meshes are sampled by latentsdf-preprocess")
        if table.shape[1] not in (3, 6):
            raise MeshError(f"{file.path.name}: expected points (N, 3) or with normals (N, 6), got {table.shape}")
        cloud = prepare_point_cloud(table, normalization=config.normalization)
    except MeshError as error:
        raise StoreError(str(error)) from error
    columns = [cloud.points] if cloud.normals is None else [cloud.points, cloud.normals]
    digest = hashlib.sha256(file.path.read_bytes()).hexdigest()
    return ShapeRecord(
        category=file.category,
        id=file.id,
        samples=without_lattices(config, "none", surface=np.hstack(columns).astype(np.float32)),
        similarity=cloud.similarity,
        source=file.path.name,
        source_sha256=digest,
        watertight=False,
        area=0.0,
        seed=int(digest[:8], 16),
    )
