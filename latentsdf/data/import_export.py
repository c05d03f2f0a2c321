"""Export of sample stores to HDF5, and import of HDF5 files, DeepSDF samples and point clouds into sample stores.

The formats are implemented by `hdf5`, `deepsdf_npz` and `import_pointclouds`. Each of them finds the shapes of a source
and reads one shape at a time as a `ShapeRecord`; this module selects a format and copies the shapes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from latentsdf.config.sampling import Normalization, SamplingConfig
from latentsdf.data import deepsdf_npz, hdf5, import_pointclouds
from latentsdf.data.hdf5 import Compression
from latentsdf.data.mesh_datasets import ShapeFile, select_shapes
from latentsdf.data.records import ShapeRecord
from latentsdf.data.store import SampleStore
from latentsdf.utils.console import track
from latentsdf.utils.errors import ConfigError, StoreError


@dataclass
class ImportReport:
    """Outcome of an import."""

    store: str
    """Path of the store."""
    imported: list[str] = field(default_factory=list)
    """Keys of the imported shapes."""
    present: int = 0
    """Number of shapes that the store already had and that were not replaced."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reason for the failure of each shape that could not be imported, by key."""


@dataclass(frozen=True)
class _ImportSource:
    """Shapes that can be imported, and the function that reads them."""

    config: SamplingConfig
    shapes: list[ShapeFile]
    read: Callable[[ShapeFile, SamplingConfig], ShapeRecord]
    in_model_space: bool
    """False for point clouds, which are normalized on import."""


def export_samples(
    store: SampleStore, out: Path, names: Sequence[str] = (), compression: Compression = "gzip"
) -> list[str]:
    """Write shapes of a store to an HDF5 file, see `hdf5` for its layout.

    The file is written atomically.

    Args:
        store: The sample store.
        out: The HDF5 file.
        names: Shapes to export, by id or category/id; all shapes if empty.
        compression: HDF5 compression filter.

    Returns:
        Keys of the exported shapes.

    Raises:
        ConfigError: A name does not identify exactly one shape, or `out` is a folder.
        StoreError: The store is empty or damaged, or the file cannot be written.
    """
    keys = [_find_key(store, name) for name in dict.fromkeys(names)] or store.keys()
    if not keys:
        raise StoreError(f"{store.path}: the store has no shapes to export")
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; name an HDF5 file such as {out.with_suffix('.h5').name}")
    hdf5.write_file(out, store, keys, compression)
    return keys


def import_samples(
    source: Path,
    out: Path,
    *,
    categories: Iterable[str] = (),
    split: Path | None = None,
    pattern: str = "*",
    normalization: Normalization | None = None,
    overwrite: bool = False,
    columns: Sequence[str] | None = None,
) -> ImportReport:
    """Import shapes into a new store, or into a store with the same settings.

    A shape that cannot be used is reported and skipped.

    Args:
        source: An HDF5 file that `export_samples` wrote, a folder of DeepSDF samples, or a folder of point clouds.
        out: Folder of the sample store.
        categories: Names or ShapeNet synsets of categories to import; all if empty.
        split: DeepSDF split file that selects shapes.
        pattern: Pattern of ids or of category/id, see `mesh_datasets.matches_pattern`.
        normalization: Normalization of point clouds, `sphere` by default.
        overwrite: Replace shapes that the store already has.
        columns: Meaning of the columns of point clouds, see `point_table.table_from_order`; by default, they are found
            by their names or values.

    Raises:
        FileNotFoundError: The source or the split does not exist.
        ConfigError: No shape is selected, or `normalization` is given for samples that are in model space.
        StoreError: The source has another layout or version, the store has other settings, or the disk is full.
    """
    found = _open_folder(source, normalization or "sphere", columns) if source.is_dir() else _open_hdf5(source)
    if normalization is not None and found.in_model_space:
        raise ConfigError(f"{source}: the samples are in model space already; leave the normalization out")
    selected = select_shapes(found.shapes, source, categories, split, pattern)
    store = SampleStore.create(out, found.config)
    report = ImportReport(str(out))
    with track("importing", total=len(selected), unit="shape") as advance:
        for file in selected:
            key = f"{file.category}/{file.id}"
            if key in store and not overwrite:
                report.present += 1
            else:
                try:
                    record = found.read(file, found.config)
                except StoreError as error:
                    report.failed[key] = str(error)
                else:
                    store.write(record)
                    report.imported.append(key)
            advance()
    return report


def _find_key(store: SampleStore, name: str) -> str:
    """Key of the only shape with this id or category/id."""
    hits = [key for key in store if name in (key, key.partition("/")[2])]
    if len(hits) != 1:
        problem = f"has several shapes '{name}': {', '.join(hits[:3])}" if hits else f"has no shape '{name}'"
        raise ConfigError(f"{store.path}: {problem}; name one as category/id, see latentsdf info {store.path}")
    return hits[0]


def _open_hdf5(path: Path) -> _ImportSource:
    config, shapes = hdf5.open_file(path)
    return _ImportSource(config, shapes, hdf5.read_record, in_model_space=True)


def _open_folder(root: Path, normalization: Normalization, columns: Sequence[str] | None) -> _ImportSource:
    """Detect the format of a folder: DeepSDF samples if it has at least one such file, else point clouds."""
    shapes = deepsdf_npz.find_samples(root)
    if shapes:
        return _ImportSource(deepsdf_npz.SETTINGS, shapes, deepsdf_npz.read_record, in_model_space=True)
    shapes = import_pointclouds.find_clouds(root)
    if not shapes:
        raise ConfigError(
            f"{root}: expected DeepSDF samples <class>/<id>.npz, or point clouds <category>/<id> of "
            f"{', '.join(import_pointclouds.CLOUD_SUFFIXES)}; found neither"
        )
    config = replace(import_pointclouds.SETTINGS, normalization=normalization)
    read = partial(import_pointclouds.read_record, columns=columns)
    return _ImportSource(config, shapes, read, in_model_space=False)
