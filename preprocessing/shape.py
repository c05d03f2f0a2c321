"""One source -> one record in the store."""

import hashlib
import time
from pathlib import Path

import numpy as np

from latentsdf.config import SamplingConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.sampling import SdfSamples, sample
from latentsdf.store import SampleStore, ShapeRecord
from preprocessing import preview
from preprocessing.report import Outcome
from preprocessing.sources import Source


def make_record(source: Source, config: SamplingConfig, seed: int) -> ShapeRecord:
    """Load, clean, normalize and sample one shape; reproducible from its key and the seed alone."""
    raw, digest = source.load()
    cleaned, _ = meshes.clean(raw)
    mesh, similarity = meshes.normalize(cleaned, config.normalization)
    shape_seed = int.from_bytes(hashlib.sha256(f"{seed}/{source.key}".encode()).digest()[:4], "big")
    return ShapeRecord(
        source.category,
        source.id,
        sample(mesh, config, shape_seed),
        similarity,
        source.name,
        digest,
        bool(mesh.is_watertight),
        float(mesh.area),
        shape_seed,
    )


def preprocess(
    source: Source, store_path: Path, config: SamplingConfig, seed: int, previews: Path | None = None
) -> Outcome:
    """Make one record, write it, and draw it under `previews`; what a worker process runs."""
    start = time.perf_counter()
    record = make_record(source, config, seed)
    store = SampleStore(store_path, config)
    store.write(record)
    warning = _draw(record, previews) if previews is not None else ""
    info = store.info(record.key)
    thin = thin_share(record.samples)
    return Outcome.of_stored(info, seconds=time.perf_counter() - start, thin=thin, warning=warning)


def thin_share(samples: SdfSamples, points: int = 4096) -> float:
    """Share of the surface under which the band's lattice has no inside, as for sheets and walls of under a cell.

    A vertex next to the point one cell beneath the surface is inside wherever the wall has two cells or more. Judged
    at up to `points` surface samples; 0 without any.
    """
    surface = samples.surface[:: -(-len(samples.surface) // points) or 1].astype(np.float64)
    beneath = surface[:, :3] - surface[:, 3:] * (2 / samples.resolution)
    cell = np.rint((beneath + 1) * (samples.resolution / 2)).astype(np.int64).clip(0, samples.resolution)
    linear = np.ravel_multi_index(tuple(cell.T), (samples.resolution + 1,) * 3)
    at = np.searchsorted(samples.band_index, linear).clip(max=len(samples.band_index) - 1)
    known = samples.band_index[at] == linear
    return float((samples.band_distance[at[known]] >= 0).mean()) if known.any() else 0.0


def _draw(record: ShapeRecord, previews: Path) -> str:
    """Write the preview; what went wrong, or "". The shape is stored by then, and no failure here may take it back."""
    try:
        path = previews / f"{record.key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        preview.draw(record).save(path)
    except Exception as error:
        return f"{record.key}: no preview, {type(error).__name__}: {error}"
    return ""
