"""One source -> one record in the store."""

import hashlib
import socket
import time
from pathlib import Path

import numpy as np

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.records import ShapeRecord
from latentsdf.data.store import SampleStore
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.lattice import linear_index, to_lattice_units
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples, sample
from latentsdf.utils.atomic_files import atomic_write, disk_full_as_store_error
from latentsdf.utils.errors import StoreError
from preprocessing import preview
from preprocessing.report import Outcome
from preprocessing.sources import Source


def shape_seed(source: Source, seed: int) -> int:
    """The seed of one shape's samples, for the seed of the run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{source.key}".encode()).digest()[:4], "big")


def make_record(source: Source, config: SamplingConfig, seed: int) -> ShapeRecord:
    """Load, clean, normalize and sample one shape; reproducible from its key and the seed alone."""
    raw = source.load()
    digest = source.digest(raw)
    cleaned, _ = meshes.clean(raw)
    mesh, similarity = meshes.normalize(cleaned, config.normalization)
    own_seed = shape_seed(source, seed)
    return ShapeRecord(
        category=source.category,
        id=source.id,
        samples=sample(mesh, config, own_seed),
        similarity=similarity,
        source=source.name,
        source_sha256=digest,
        watertight=bool(mesh.is_watertight),
        area=float(mesh.area),
        seed=own_seed,
    )


def preprocess(
    source: Source, store_path: Path, config: SamplingConfig, seed: int, previews: Path | None = None
) -> Outcome:
    """Make one record, draw it under `previews`, and write it; what a worker process runs.

    Raises StoreError when the disk is full, or when this machine does not see the store.
    """
    start = time.perf_counter()
    store = _store_here(store_path, config)
    record = make_record(source, config, seed)
    # The shape is written last, so that a run that is stopped in between makes up for the picture, too.
    warning = _draw(record, store_path, previews) if previews is not None else ""
    store.write(record)
    thin = thin_share(record.samples)
    info = store.info(record.key)
    return Outcome.of_stored(info, seconds=time.perf_counter() - start, thin=thin, warning=warning)


def thin_share(samples: SdfSamples, points: int = 4096) -> float:
    """Share of the surface under which the band's lattice has no inside, as for sheets and walls of under a cell.

    A vertex next to the point one cell beneath the surface is inside wherever the wall has two cells or more. Judged
    at up to `points` surface samples; 0 without any.
    """
    surface = samples.surface[:: -(-len(samples.surface) // points) or 1].astype(np.float64)
    beneath = surface[:, :3] - surface[:, 3:] * (2 / samples.resolution)
    cell = np.rint(to_lattice_units(beneath, samples.resolution)).astype(np.int64).clip(0, samples.resolution)
    linear = linear_index(cell, samples.resolution)
    at = np.searchsorted(samples.band_index, linear).clip(max=len(samples.band_index) - 1)
    known = samples.band_index[at] == linear
    return float((samples.band_distance[at[known]] >= 0).mean()) if known.any() else 0.0


def _store_here(path: Path, config: SamplingConfig) -> SampleStore:
    if not (path / "zarr.json").is_file():
        raise StoreError(
            f"{path}: a worker on {socket.gethostname()} does not see the store; workers on other machines need it, "
            "and the meshes, on a file system that all machines share, under the same path"
        )
    return SampleStore(path, config)


def _draw(record: ShapeRecord, store: Path, previews: Path) -> str:
    """Write the preview; what went wrong, or "": no failure here but a full disk may cost the shape."""
    path = previews / f"{record.key}.png"
    try:
        with disk_full_as_store_error(store):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as aside:
                preview.draw(record).save(aside, format="PNG")
    except StoreError:
        raise
    except Exception as error:
        return f"{record.key}: no preview, {type(error).__name__}: {error}"
    return ""
