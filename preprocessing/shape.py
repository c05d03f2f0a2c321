"""One source -> one record in the store."""

import hashlib
from pathlib import Path

from latentsdf.config import SamplingConfig
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.sampling import sample
from latentsdf.store import SampleStore, ShapeRecord
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


def preprocess(source: Source, store_path: Path, config: SamplingConfig, seed: int) -> None:
    """Make one record and write it; what a worker process runs."""
    SampleStore(store_path, config).write(make_record(source, config, seed))
