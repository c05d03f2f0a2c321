"""Point clouds on disk as records of a sample store: surface points, with or without normals, and no distances.

Layout: any tree of point files <...>/<category>/<id>.<suffix>, in the formats of `geometry.pointcloud.io`. The points
are normalized to model space like meshes. Such a shape can be used for training with `train.samples: points`; functions
that need signed distances raise an error.
"""

from collections.abc import Sequence
from pathlib import Path

import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.mesh_datasets import ShapeFile, find_files
from latentsdf.data.records import ShapeRecord
from latentsdf.data.shape_records import file_digest, points_record
from latentsdf.geometry.pointcloud.io import SUFFIXES, load_mesh_or_points
from latentsdf.utils.errors import MeshError, StoreError
from latentsdf.utils.shape_ids import key_part

SETTINGS = SamplingConfig(sparse_resolution=0, near=0, near_std=0.0, uniform=0, surface=0, sheet_thickness=0.0)
"""Settings of a store of point clouds, except for `normalization`. No samples are generated, so all counts are 0."""

CLOUD_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix != ".obj")
"""Suffixes of the files that `find_clouds` returns."""


def find_clouds(root: Path) -> list[ShapeFile]:
    """Find all files below a folder that may be point clouds; the category is the name of their folder."""
    paths = find_files(root, CLOUD_SUFFIXES)
    return [ShapeFile(key_part(path.parent.name), key_part(path.stem), path) for path in paths]


def read_record(file: ShapeFile, config: SamplingConfig, columns: Sequence[str] | None = None) -> ShapeRecord:
    """Read one point cloud (N, 3), or (N, 6) with normals, and normalize it.

    Args:
        file: The point cloud file.
        config: Sampling settings of the store, `SETTINGS` with a normalization.
        columns: Meaning of the columns, see `point_table.table_from_order`; None to find it.

    Raises:
        StoreError: The file cannot be read, is a mesh, or has another number of columns.
    """
    try:
        table = load_mesh_or_points(file.path, columns)
        if isinstance(table, trimesh.Trimesh):
            raise MeshError(f"{file.path.name}: has faces; meshes are sampled by latentsdf-preprocess")
        if table.dim != 3 or table.distances is not None:
            found = "planar points" if table.dim == 2 else "signed samples (N, 4)"
            raise MeshError(f"{file.path.name}: expected points (N, 3) or with normals (N, 6), got {found}")
        return points_record(table, file.key, config, file.path.name, file_digest(file.path))
    except MeshError as error:
        raise StoreError(str(error)) from error
