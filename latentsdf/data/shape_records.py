"""Records of a sample store from what a user holds: meshes, points and signed samples, in memory or in files."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import ArrayLike, NDArray

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.records import ShapeRecord
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.lattice import band_width
from latentsdf.geometry.mesh_sdf.sampling import sample, samples_without_lattices
from latentsdf.geometry.pointcloud.io import load_mesh_or_points
from latentsdf.geometry.pointcloud.point_cloud import as_table, prepare_point_cloud
from latentsdf.geometry.similarity import IDENTITY
from latentsdf.utils.errors import MeshError


def shape_seed(key: str, seed: int) -> int:
    """Derive the seed of a shape from the seed of the run and the key of the shape."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:4], "big")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(shape: trimesh.Trimesh | Path | str | ArrayLike) -> str:
    """Return the SHA-256 of a file, of the vertices and faces of a mesh, or of a table, hexadecimal."""
    if isinstance(shape, str | Path):
        return file_digest(Path(shape))
    if isinstance(shape, trimesh.Trimesh):
        return hashlib.sha256(shape.vertices.tobytes() + shape.faces.tobytes()).hexdigest()
    return hashlib.sha256(as_table("", shape).tobytes()).hexdigest()


def make_record(
    shape: trimesh.Trimesh | Path | str | ArrayLike, key: str, config: SamplingConfig, seed: int
) -> ShapeRecord:
    """Build the record of a shape.

    Args:
        shape: A mesh, points (N, 3), points with normals (N, 6), signed samples (N, 4) in model space, or a file of one
            of these.
        key: Key of the shape, category/id.
        config: Sampling settings.
        seed: Seed of the run.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: The shape is unusable.
    """
    source = key
    loaded: Any = shape
    if isinstance(shape, str | Path):
        source, loaded = Path(shape).name, load_mesh_or_points(shape)
    digest = digest_of(shape)
    if isinstance(loaded, trimesh.Trimesh):
        meshes.require_usable_mesh(source, loaded)
        return mesh_record(loaded, key, config, seed, source, digest)
    table = as_table(source, loaded)
    if table.shape[1] == 4:
        return signed_record(table, key, config, source, digest)
    if table.shape[1] not in (3, 6):
        raise MeshError(
            f"{source}: expected a mesh, points (N, 3) or (N, 6) with normals, or signed samples (N, 4), got shape "
            f"{table.shape}"
        )
    return points_record(table, key, config, source, digest)


def mesh_record(
    mesh: trimesh.Trimesh, key: str, config: SamplingConfig, seed: int, source: str, digest: str
) -> ShapeRecord:
    """Clean, normalize and sample a mesh. The result depends only on the arguments.

    Args:
        mesh: Mesh in any frame; it is not modified.
        key: Key of the shape, category/id.
        config: Sampling settings.
        seed: Seed of the run.
        source: Name of the source, for messages.
        digest: SHA-256 of the source.

    Raises:
        MeshError: The mesh is unusable.
    """
    cleaned, _ = meshes.clean(mesh)
    in_model_space, similarity = meshes.normalize(cleaned, config.normalization)
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
    )


def points_record(
    table: NDArray[np.float64], key: str, config: SamplingConfig, source: str, digest: str
) -> ShapeRecord:
    """Normalize points (N, 3), or with normals (N, 6); such a shape has no distances (`train.samples: points`).

    Raises:
        MeshError: The points are unusable.
    """
    cloud = prepare_point_cloud(table, normalization=config.normalization)
    columns = [cloud.points] if cloud.normals is None else [cloud.points, cloud.normals]
    category, _, name = key.partition("/")
    return ShapeRecord(
        category=category,
        id=name,
        samples=samples_without_lattices(config, "none", surface=np.hstack(columns).astype(np.float32)),
        similarity=cloud.similarity,
        source=source,
        source_sha256=digest,
        watertight=False,
        area=0.0,
        seed=int(digest[:8], 16),
    )


def signed_record(
    table: NDArray[np.floating[Any]], key: str, config: SamplingConfig, source: str, digest: str
) -> ShapeRecord:
    """Store signed samples (N, 4) in model space as the `near` samples of a shape without a band.

    Rows that are not finite are dropped, as in DeepSDF.

    Raises:
        MeshError: No sample is close enough to the surface, or those that are leave the box [-1, 1]^3.
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
    category, _, name = key.partition("/")
    return ShapeRecord(
        category=category,
        id=name,
        samples=samples,
        similarity=IDENTITY,
        source=source,
        source_sha256=digest,
        watertight=False,
        area=0.0,
        seed=int(digest[:8], 16),
    )
