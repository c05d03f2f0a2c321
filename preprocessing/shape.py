"""Preprocessing of one shape: load, clean, normalize and sample its mesh, and write the record to the store.

These functions run in worker processes, which must not import torch.
"""

import socket
import time
from pathlib import Path

import numpy as np

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.records import ShapeRecord
from latentsdf.data.shape_records import mesh_record
from latentsdf.data.store import SampleStore
from latentsdf.data.zarr_layout import StorePath
from latentsdf.geometry.lattice import linear_index, to_lattice_units
from latentsdf.geometry.mesh_sdf.sampling import SdfSamples
from latentsdf.utils.atomic_files import atomic_write, disk_full_as_store_error
from latentsdf.utils.errors import StoreError
from latentsdf.utils.output_folders import require_no_links
from preprocessing import preview
from preprocessing.report import Outcome
from preprocessing.sources import Source


def make_record(source: Source, config: SamplingConfig, seed: int) -> ShapeRecord:
    """Load, clean, deform (an augmented copy only), normalize and sample one shape.

    The result depends only on the source, the settings and the seed.

    Args:
        source: The shape.
        config: Sampling settings of the store.
        seed: Seed of the samples.
    """
    raw = source.load()
    deformation, recipe = source.deformation, source.recipe()
    return mesh_record(
        raw, source.key, config, seed, source.name, source.digest(raw), deformation=deformation, recipe=recipe
    )


def preprocess(
    source: Source, store_path: StorePath, config: SamplingConfig, seed: int, previews: Path | None = None
) -> Outcome:
    """Sample one shape and write it to the store: the task of a worker process.

    Args:
        source: The shape.
        store_path: Folder or URL of the store.
        config: Sampling settings of the store.
        seed: Seed of the run.
        previews: Folder for the preview <category>/<id>.png; None for no preview.

    Raises:
        StoreError: The disk is full, or the store is not visible on this machine.
    """
    start = time.perf_counter()
    store = _open_store(store_path, config)
    record = make_record(source, config, seed)
    # The shape is written last, so that a resumed run draws the preview again if it was interrupted before.
    warning = _draw_preview(record, previews) if previews is not None else ""
    store.write(record)
    thin = thin_share(record.samples)
    info = store.info(record.key)
    return Outcome.of_stored(info, seconds=time.perf_counter() - start, thin=thin, warning=warning)


def thin_share(samples: SdfSamples, points: int = 4096) -> float:
    """Fraction of the surface where the lattice resolves no interior, as for sheets and for walls below one cell.

    The test is made at the dense lattice vertex nearest to the point one cell below the surface, along the normal. For
    walls of at least two cells this vertex is inside.

    Args:
        samples: Samples of the shape, with normals.
        points: Maximum number of surface samples to test.

    Returns:
        Fraction in [0, 1]; 0 without surface samples.
    """
    surface = samples.surface[:: -(-len(samples.surface) // points) or 1].astype(np.float64)
    below = surface[:, :3] - surface[:, 3:] * (2 / samples.resolution)
    cell = np.rint(to_lattice_units(below, samples.resolution)).astype(np.int64).clip(0, samples.resolution)
    linear = linear_index(cell, samples.resolution)
    at = np.searchsorted(samples.band_index, linear).clip(max=len(samples.band_index) - 1)
    stored = samples.band_index[at] == linear
    return float((samples.band_distance[at[stored]] >= 0).mean()) if stored.any() else 0.0


def _open_store(path: StorePath, config: SamplingConfig) -> SampleStore:
    """Open the store without reading its attributes; raises StoreError if it does not exist on this machine."""
    if not (path / "zarr.json").is_file():
        raise StoreError(
            f"{path}: a worker on {socket.gethostname()} cannot find the store; the store and the meshes must be on a "
            "file system that all machines share, under the same path"
        )
    return SampleStore(path, config)


def _draw_preview(record: ShapeRecord, previews: Path) -> str:
    """Write the preview and return "", or a warning: only a full disk is an error that fails the shape."""
    path = previews / f"{record.key}.png"
    try:
        with disk_full_as_store_error(previews):
            require_no_links(previews, record.category)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as aside:
                preview.draw(record).save(aside, format="PNG")
    except StoreError:
        raise
    except Exception as error:
        return f"{record.key}: no preview, {type(error).__name__}: {error}"
    return ""
