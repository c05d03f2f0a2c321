"""Records of a sample store from what a user holds: meshes, points and signed samples, in memory or in files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.records import ShapeRecord
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.deformation import Deformation
from latentsdf.geometry.lattice import band_width
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples, sample, samples_without_lattices
from latentsdf.geometry.pointcloud.point_cloud import prepare_point_cloud
from latentsdf.geometry.pointcloud.point_table import PointTable
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.geometry.targets import read_target
from latentsdf.utils.errors import MeshError


def shape_seed(key: str, seed: int) -> int:
    """Derive the seed of a shape from the seed of the run and the key of the shape."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:4], "big")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(shape: Any) -> str:
    """Return the SHA-256 of a file, or of the arrays of any other form of a shape (`geometry.targets`), hexadecimal."""
    if isinstance(shape, str | Path):
        return file_digest(Path(shape))
    return _digest(read_target(shape))


def _digest(target: trimesh.Trimesh | PointTable) -> str:
    arrays = (
        (target.vertices, target.faces)
        if isinstance(target, trimesh.Trimesh)
        else (target.points, target.normals, target.distances)
    )
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays if array is not None)).hexdigest()


def make_record(shape: Any, key: str, config: SamplingConfig, seed: int) -> ShapeRecord:
    """Build the record of a shape.

    Args:
        shape: A mesh, points (N, 3), points with normals (N, 6), or signed samples (N, 4) in model space, in any form
            that `geometry.targets` lists.
        key: Key of the shape, category/id.
        config: Sampling settings.
        seed: Seed of the run.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: The shape is unusable.
    """
    is_file = isinstance(shape, str | Path)
    source = Path(shape).name if is_file else key
    target = read_target(shape)
    digest = file_digest(Path(shape)) if is_file else _digest(target)
    if isinstance(target, trimesh.Trimesh):
        meshes.require_usable_mesh(source, target)
        return mesh_record(target, key, config, seed, source, digest)
    if target.dim != 3:
        raise MeshError(f"{source}: expected a shape in 3D, got planar points {target.points.shape}")
    if target.distances is not None:
        return signed_record(np.column_stack((target.points, target.distances)), key, config, source, digest)
    return points_record(target, key, config, source, digest)


def mesh_record(
    mesh: trimesh.Trimesh,
    key: str,
    config: SamplingConfig,
    seed: int,
    source: str,
    digest: str,
    *,
    deformation: Deformation | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> ShapeRecord:
    """Clean, deform (an augmented copy only), normalize and sample a mesh. The result depends only on the arguments.

    Args:
        mesh: Mesh in any frame; it is not modified.
        key: Key of the shape, category/id.
        config: Sampling settings.
        seed: Seed of the run.
        source: Name of the source, for messages.
        digest: SHA-256 of the source.
        deformation: Deformation of a copy of another shape; None for other shapes.
        recipe: Recipe of the record (`records.Provenance`).

    Raises:
        MeshError: The mesh is unusable.
    """
    cleaned, _ = meshes.clean(mesh)
    shape = cleaned if deformation is None else deformation.deform(cleaned)
    in_model_space, similarity = meshes.normalize(shape, config.normalization)
    own_seed = shape_seed(key, seed)
    category, _, name = key.partition("/")
    return ShapeRecord(
        category=category,
        id=name,
        samples=sample(in_model_space, config, own_seed),
        similarity=similarity,
        source=source,
        source_sha256=digest,
        watertight=bool(in_model_space.is_watertight),
        area=float(in_model_space.area),
        seed=own_seed,
        augmented=deformation is not None,
        recipe=recipe or {},
    )


def points_record(table: PointTable, key: str, config: SamplingConfig, source: str, digest: str) -> ShapeRecord:
    """Normalize points, which may have normals; such a shape has no distances (`train.samples: points`).

    Raises:
        MeshError: The points are unusable.
    """
    cloud = prepare_point_cloud(table, normalization=config.normalization)
    columns = [cloud.points] if cloud.normals is None else [cloud.points, cloud.normals]
    samples = samples_without_lattices(config, "none", surface=np.hstack(columns).astype(np.float32))
    return _record_without_mesh(samples, cloud.similarity, key, source, digest)


def signed_record(
    table: NDArray[np.floating[Any]],
    key: str,
    config: SamplingConfig,
    source: str,
    digest: str,
    similarity: Similarity = IDENTITY,
) -> ShapeRecord:
    """Store signed samples (N, 4) in model space as the `near` samples of a shape without a band.

    Rows that are not finite are dropped, as in DeepSDF.

    Args:
        table: Points and signed distances.
        key: Key of the shape, category/id.
        config: Sampling settings.
        source: Name of the source, for messages.
        digest: SHA-256 of the source.
        similarity: Transform from the frame of the shape to model space.

    Raises:
        MeshError: No sample is close enough to the surface, or those that are leave the box [-1, 1]^3, or no distance
            is negative or none is positive.
    """
    near: NDArray[np.float32] = table[np.isfinite(table).all(1)].astype(np.float32)
    samples = samples_without_lattices(config, "imported", near=near)
    width = band_width(samples.resolution, samples.band_voxels)
    in_band = near[np.abs(near[:, 3]) <= width]
    if len(in_band) == 0:
        raise MeshError(f"{source}: none of its {len(near)} samples is within {width:.4f} of the surface")
    extent = np.abs(in_band[:, :3]).max()
    if extent > 1:
        raise MeshError(
            f"{source}: samples at the surface reach {extent:.3g}, outside [-1, 1]; "
            "sample the shape scaled to the unit sphere, as DeepSDF does"
        )
    if near[:, 3].min() >= 0 or near[:, 3].max() <= 0:
        sign = "negative" if near[:, 3].min() >= 0 else "positive"
        raise MeshError(f"{source}: none of its {len(near)} distances is {sign}, so that the samples have no inside")
    return _record_without_mesh(samples, similarity, key, source, digest)


def _record_without_mesh(
    samples: SdfSamples, similarity: Similarity, key: str, source: str, digest: str
) -> ShapeRecord:
    category, _, name = key.partition("/")
    return ShapeRecord(
        category=category,
        id=name,
        samples=samples,
        similarity=similarity,
        source=source,
        source_sha256=digest,
        watertight=False,
        area=0.0,
        seed=int(digest[:8], 16),
    )
