"""The sample store: a Zarr v3 group of shapes that were all sampled with the same settings.

    <store>.zarr/
        zarr.json                     attributes: format, version, sampling, settings_hash, created, library
        shapes/<category>/<id>/       one shape, see `zarr_layout`
        tmp/                          shapes that are being written

`sampling` holds the fields of `SamplingConfig`, `settings_hash` the first 16 hexadecimal digits of the SHA-256 of their
JSON. A shape is written under `tmp/`, read back, and moved into place by a rename, so that readers only see complete
shapes.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field

from latentsdf.config import loader
from latentsdf.config.arguments import check_arguments
from latentsdf.config.sampling import SamplingConfig
from latentsdf.data import zarr_layout
from latentsdf.data.records import ShapeInfo, ShapeRecord, ShapeSummary, provenance_fields
from latentsdf.data.shape_records import make_record
from latentsdf.data.store_checks import verify_shape
from latentsdf.data.zarr_layout import StorePath
from latentsdf.utils.arrays import as_array, describe
from latentsdf.utils.artifacts import locked
from latentsdf.utils.atomic_files import atomic_write, disk_full_as_store_error
from latentsdf.utils.errors import ConfigError, LatentSDFError, StoreError
from latentsdf.utils.notebook import html_table
from latentsdf.utils.object_storage import ObjectPath, is_storage_error, locate, storage_error
from latentsdf.utils.output_folders import require_no_links
from latentsdf.utils.shape_ids import RULE, is_key
from latentsdf.utils.temporary_names import is_abandoned, temporary_name

PositiveShare = Annotated[float, Field(strict=True, gt=0, le=1)]

FORMAT = "latentsdf-samples"
VERSION = 1

_DAMAGE = (ValueError, RuntimeError, OSError, LookupError, TypeError, AttributeError, ArithmeticError)
"""Exceptions of reading a damaged shape."""


class SampleStore:
    """Sample store on disk or in object storage. Several processes may write different shapes at the same time.

    Use `create` or `open`; the constructor neither reads nor writes the store.

    In object storage, at a URL `s3://bucket/name`, `gs://bucket/name` or `memory://name/name` (extra `cloud`), each
    object is written as a whole. The metadata of a shape is its last object, so that readers only see complete shapes.
    There are no locks and no renames: a shape that is replaced is absent until it is complete, and no two processes may
    write the same shape.

    Attributes:
        path: Folder of the store, or its URL.
        config: Sampling settings of all its shapes.
    """

    def __init__(self, path: StorePath, config: SamplingConfig) -> None:
        """Refer to an existing store with known settings.

        Args:
            path: Folder of the store.
            config: Sampling settings of the store.
        """
        self.path = path
        self.config = config

    @classmethod
    @check_arguments
    def create(cls, path: Path | ObjectPath | str, config: SamplingConfig | None = None) -> "SampleStore":
        """Create a store, or open an existing one with the same settings to continue it.

        Temporary files of processes that were killed are removed.

        Args:
            path: Folder of the store.
            config: Sampling settings; by default those of an existing store, or else `SamplingConfig()`.

        Returns:
            The store, ready to be written.

        Raises:
            StoreError: The store has other settings, the path is not a sample store, or the disk is full.
        """
        path = locate(path)
        if isinstance(path, ObjectPath):
            return cls._create_remote(path, config)
        if path.is_file():
            raise StoreError(f"{path}: is a file; name a folder for the sample store")
        with disk_full_as_store_error(path):
            path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            return cls._open_to_write(path, config)

    @classmethod
    def _open_to_write(cls, path: Path, config: SamplingConfig | None) -> "SampleStore":
        """Open a store, or make one in an empty folder; other processes are kept out by the caller."""
        for unfinished in path.glob("zarr.*.partial"):  # of a process that was killed while it created the store
            unfinished.unlink(missing_ok=True)
        if any(path.iterdir()):
            store = cls._open_with(path, config)
            require_no_links(path, "tmp", error=StoreError)
            for folder in (path / "tmp").glob("*"):
                if is_abandoned(folder.name) and not folder.is_symlink():
                    with suppress(FileNotFoundError):  # another process cleans up, too
                        _restore_replaced(path, folder)
                    shutil.rmtree(folder, ignore_errors=True)
            return store
        config = config or SamplingConfig()
        with disk_full_as_store_error(path):
            zarr.create_group(path, attributes=_attributes_of(config))
        return cls(path, config)

    @classmethod
    def _create_remote(cls, path: ObjectPath, config: SamplingConfig | None) -> "SampleStore":
        """Create a store in object storage, or open one; of several processes, one writes its metadata."""
        if not path.key and path.scheme != "memory":
            raise ConfigError(f"{path}: expected a name within the bucket, such as {path}/shapes.zarr")
        if next(path.files(), None) is None:
            settings = config or SamplingConfig()
            if (path / "zarr.json").write(_group_metadata(_attributes_of(settings)), new=True):
                return cls(path, settings)
        return cls._open_with(path, config)

    @classmethod
    def _open_with(cls, path: StorePath, config: SamplingConfig | None) -> "SampleStore":
        """Open a store that is to have these settings, if any are given."""
        store = cls.open(path)
        old, new = asdict(store.config), asdict(config or store.config)
        changed = [
            f"{name} ({old[name]} in the store, {new[name]} requested)" for name in new if old[name] != new[name]
        ]
        if changed:
            raise StoreError(
                f"{path}: was created with different settings: {', '.join(changed)}; "
                "use the same settings, or write to another store"
            )
        return store

    @classmethod
    @check_arguments
    def open(cls, path: Path | ObjectPath | str) -> "SampleStore":
        """Open an existing store.

        Args:
            path: Folder of the store.

        Raises:
            FileNotFoundError: There is no such folder.
            StoreError: The folder is not a sample store, or has another version.
        """
        path = locate(path)
        if not (_has_objects(path) if isinstance(path, ObjectPath) else path.is_dir()):
            raise FileNotFoundError(f"{path}: no such sample store; make one with latentsdf-preprocess --out {path}")
        try:
            attributes = zarr_layout.read_attributes(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: not a sample store (no readable Zarr group)") from error
        if attributes.get("format") != FORMAT:
            raise StoreError(f"{path}: a Zarr group, but not a {FORMAT} store")
        if attributes.get("version") != VERSION:
            raise StoreError(
                f"{path}: store version {attributes.get('version')}, but this latentsdf reads version {VERSION}; "
                "preprocess again, or use the latentsdf that wrote it"
            )
        sampling = attributes.get("sampling")
        if not isinstance(sampling, dict):
            raise StoreError(f"{path}: its sampling settings are {type(sampling).__name__}; preprocess again")
        if attributes.get("settings_hash") != _hash_of(sampling):
            raise StoreError(
                f"{path}: its sampling settings do not match their hash (edited, or a draft); preprocess again"
            )
        try:
            return cls(path, loader.from_dict(SamplingConfig, sampling, source=str(path)))
        except ConfigError as error:
            raise StoreError(f"{error}; the store's settings are from another latentsdf, preprocess again") from error

    def keys(self) -> list[str]:
        """Return the keys, category/id, of all complete shapes, sorted."""
        keys = sorted(_find_keys(self.path))
        for key in keys:
            if not is_key(key):
                raise StoreError(
                    f"{self.path}: has a shape {key!r}, which is not a valid name; expected category/id, two names of "
                    f"folders {RULE}; rename or remove this folder"
                )
        return keys

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: str) -> bool:
        return is_key(key) and (self._folder(key) / "zarr.json").is_file()

    def __len__(self) -> int:
        return len(self.keys())

    def __repr__(self) -> str:
        return f"<SampleStore: {', '.join(f'{name} {value}' for name, value in self._summary().items())}>"

    def _repr_html_(self) -> str:
        """Return a short table for notebooks."""
        return html_table("SampleStore", self._summary())

    def _summary(self) -> dict[str, object]:
        config = self.config
        band = f"{config.band_voxels:g} cells of {config.resolution}^3"
        return {"folder": self.path, "shapes": len(self), "band": band, "normalization": config.normalization}

    @check_arguments
    def write(self, record: ShapeRecord) -> None:
        """Add or replace a shape atomically.

        Args:
            record: The shape.

        Raises:
            StoreError: The record was sampled with other settings, does not read back as written, or the disk is full.
            ConfigError: The category or id is not a valid name.
        """
        with self._placing(record.key) as new:
            _require_same_lattice(record, self.config)
            zarr_layout.write_shape(new, record)

    def copy_from(self, other: "SampleStore", key: str, *, link: bool = False) -> bool:
        """Copy a shape of another store with the same settings, byte for byte and atomically.

        Args:
            other: The other store.
            key: Shape key, category/id.
            link: Make hard links instead of copies; both stores must be on one file system.

        Returns:
            False if this store already has the same shape, which is then left alone.

        Raises:
            StoreError: The settings differ, this store has a different shape of that key, the other one has none, or
                the disk is full.
        """
        if other.config != self.config:
            raise StoreError(f"{other.path}: has other sampling settings than {self.path}")
        with other._shape(key) as source:
            marker = (source / "zarr.json").read_bytes()
            if key in self:
                # The metadata has the SHA-256 of every array, of the source, and the seed.
                if (self._folder(key) / "zarr.json").read_bytes() != marker:
                    raise StoreError(
                        f"{self.path}: has a different shape '{key}' than {other.path}; name another store"
                    )
                return False
            final = self._folder(key)
            if link and (isinstance(final, ObjectPath) or isinstance(source, ObjectPath)):
                raise StoreError(f"{self.path}: object storage has no hard links; leave out --link to copy the objects")
            if isinstance(final, ObjectPath) and isinstance(source, ObjectPath):
                _copy_objects(source, final)
                return True
            with self._placing(key) as new:
                _copy_files(source, new, self.path, link=link)
        return True

    @check_arguments
    def add(
        self,
        name: str,
        shape: Any,
        *,
        seed: int = 0,
        overwrite: bool = False,
    ) -> ShapeInfo:
        """Sample a shape with the settings of the store and write it; the store is created if it does not exist.

        The shape is written atomically: after a crash, the store has it completely or not at all. Several processes may
        add different shapes.

        Args:
            name: `id`, which gets the category `shape`, or `category/id`.
            shape: One of

                - a mesh in any frame, or a mesh file: sampled as by `latentsdf-preprocess`;
                - signed samples (N, 4), points in model space [-1, 1]^3 and their signed distances, negative inside,
                  some of them within the band width of the surface: kept as they are;
                - points (N, 3), or with outward normals (N, 6), in any frame: for `train.samples: points` only;
                - a file of points or samples, or another form that `geometry.targets` lists.

            seed: Seed of the samples; the shape's own seed also depends on its name.
            overwrite: Replace a shape of this name.

        Returns:
            Metadata of the stored shape.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigError: The name is not valid, or a mesh is added to a store without a sparse lattice.
            MeshError: The shape is unusable.
            StoreError: The store has a shape of this name, or the disk is full.

        Example:
            >>> store = SampleStore.create("furniture.zarr", SamplingConfig(resolution=256, sparse_resolution=64))
            >>> store.add("chair/mine", trimesh.load_mesh("chair.obj"))
        """
        key = complete_key(name)
        if key in self and not overwrite:
            raise StoreError(f"{self.path}: already has a shape '{key}'; pass overwrite=True to replace it")
        record = make_record(shape, key, self.config, seed)
        self.create(self.path, self.config).write(record)
        return self.info(key)

    def info(self, key: str) -> ShapeInfo:
        """Return the metadata of a shape without reading its arrays.

        Args:
            key: Shape key, category/id.

        Raises:
            StoreError: The store has no such shape, or it is damaged.
        """
        with self._shape(key) as folder:
            return zarr_layout.read_info(folder)

    def summary(self, key: str) -> ShapeSummary:
        """Return what training needs of the metadata of a shape, from a single file.

        Args:
            key: Shape key, category/id.

        Raises:
            StoreError: The store has no such shape, or it is damaged.
        """
        with self._shape(key) as folder:
            return zarr_layout.read_summary(folder)

    def provenance(self, key: str) -> tuple[str, int]:
        """Return the SHA-256 of a shape's source and the seed of its sampling."""
        with self._shape(key) as folder:
            attributes = zarr_layout.read_attributes(folder)
            return attributes["source_sha256"], attributes["seed"]

    def band_chunk_count(self, key: str) -> int:
        """Return the number of chunks in which a shape's band is stored."""
        with self._shape(key) as folder:
            return zarr_layout.count_band_chunks(folder)

    def band(self, key: str, chunks: Sequence[int] | None = None) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Read the samples of a shape's narrow band.

        Every chunk is a random subset of the band. The order of the samples is unspecified.

        Args:
            key: Shape key, category/id.
            chunks: Numbers of the chunks to read, from 0; None for the whole band.

        Returns:
            Linear indices (B,) of dense lattice vertices, and signed distances (B,) in model space.

        Raises:
            ConfigError: A chunk number is out of range.
            StoreError: The store has no such shape, or it is damaged.
        """
        if chunks is not None:
            numbers = as_array(chunks, "chunks", expected="numbers of chunks (K,) or None")
            if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iu"):
                raise ConfigError(f"chunks must be integers (K,) or None, got shape {numbers.shape}")
            chunks = numbers.astype(np.int64).tolist()
        with self._shape(key) as folder:
            return zarr_layout.read_band(folder, self.config.resolution, self.config.band_voxels, chunks)

    def offsurface_samples(self, key: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read the off-surface samples of a shape: points and signed distances in model space.

        Args:
            key: Shape key, category/id.

        Returns:
            The near samples (M, 4) and the uniform samples (N, 4).

        Raises:
            StoreError: The store has no such shape, or it is damaged.
        """
        with self._shape(key) as folder:
            return zarr_layout.read_array(folder, "near"), zarr_layout.read_array(folder, "uniform")

    def offsurface_count(self, key: str) -> int:
        """Return the number of near and uniform samples of a shape."""
        return self.summary(key).offsurface_samples

    @check_arguments
    def offsurface_subset(
        self, key: str, share: PositiveShare, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read a random subset of the off-surface samples.

        The samples are stored in random order, so that a run of rows from a random start is a random subset.

        Args:
            key: Shape key, category/id.
            share: Fraction of the samples in (0, 1].
            rng: Source of random numbers.

        Returns:
            Near samples (m, 4) and uniform samples (n, 4).

        Raises:
            StoreError: The store has no such shape, or it is damaged.
        """
        with self._shape(key) as folder:
            return _random_rows(folder, "near", share, rng), _random_rows(folder, "uniform", share, rng)

    def surface_array_shape(self, key: str) -> tuple[int, int]:
        """Return the number of surface points of a shape, and of their columns: 6 with normals, 3 without."""
        return self.summary(key).surface_shape

    @check_arguments
    def surface_subset(self, key: str, share: PositiveShare, rng: np.random.Generator) -> NDArray[np.float32]:
        """Read a random subset of the surface points.

        Args:
            key: Shape key, category/id.
            share: Fraction of the points in (0, 1].
            rng: Source of random numbers.

        Returns:
            Points and outward unit normals (m, 6), or points (m, 3) of a shape without normals.

        Raises:
            StoreError: The store has no such shape, or it is damaged.
        """
        with self._shape(key) as folder:
            return _random_rows(folder, "surface", share, rng)

    def sparse_distance(self, key: str) -> NDArray[np.float16]:
        """Read the signed distance on the sparse lattice, (r + 1, r + 1, r + 1) with r = `config.sparse_resolution`."""
        with self._shape(key) as folder:
            return zarr_layout.read_array(folder, "sparse_sdf")

    def read(self, key: str) -> ShapeRecord:
        """Read all data of a shape.

        Args:
            key: Shape key, category/id.

        Returns:
            The record, with the band sorted by lattice index. The distances equal the written ones up to
            the quantization of the band (see `band_codec`) and float16 rounding on the sparse lattice.

        Raises:
            StoreError: The store has no such shape, or it is damaged.
        """
        lattices = self.config.resolution, self.config.band_voxels, self.config.sparse_resolution
        with self._shape(key) as folder:
            provenance = provenance_fields(zarr_layout.read_attributes(folder))
            samples = zarr_layout.read_samples(folder, *lattices)
            category, _, name = key.partition("/")
            return ShapeRecord(category=category, id=name, samples=samples, **provenance)

    def verify(self, key: str) -> None:
        """Read every array of a shape and check its checksums, its values and its metadata (`store_checks`).

        Args:
            key: Shape key, category/id.

        Raises:
            StoreError: The store has no such shape, or it is damaged.
        """
        with self._shape(key) as folder:
            verify_shape(folder, self.config)

    @contextmanager
    def _placing(self, key: str) -> Iterator[Path]:
        """Yield a path for the folder of a shape, which is moved to its place when the block ends."""
        self._folder(key)  # checks the key
        root = self.path
        if isinstance(root, ObjectPath):
            with tempfile.TemporaryDirectory(prefix="latentsdf-") as scratch, disk_full_as_store_error(Path(scratch)):
                yield Path(scratch) / "new"
                _upload(Path(scratch) / "new", root / "shapes" / key)
            return
        final = root / "shapes" / key
        require_no_links(root, "tmp", error=StoreError)
        require_no_links(root, "shapes", *key.split("/"), error=StoreError)
        temporary = root / "tmp" / temporary_name()
        with disk_full_as_store_error(root):
            try:
                yield temporary / "new"
                for group in (final.parent.parent, final.parent):
                    _make_group(group, temporary)
                _put(temporary / "new", final, temporary / "old" / key)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _folder(self, key: str) -> StorePath:
        if not is_key(key):
            raise ConfigError(f"{key!r} is not a valid shape key; expected category/id, two names of folders {RULE}")
        return self.path.joinpath("shapes", key)

    @contextmanager
    def _shape(self, key: str) -> Iterator[StorePath]:
        """Yield the folder of a shape; read errors within the block become a StoreError with the key of the shape."""
        try:
            yield self._folder(key)
        except Exception as error:
            if isinstance(error, ConfigError | FileNotFoundError) and key not in self:
                name = f"'{key}'" if isinstance(key, str) else describe(key)
                raise StoreError(f"{self.path}: has no shape {name}; `keys` lists its shapes, category/id") from None
            if isinstance(self.path, ObjectPath) and is_storage_error(error):
                raise storage_error(self.path, error) from error
            if isinstance(error, LatentSDFError) or not isinstance(error, _DAMAGE):
                raise
            raise StoreError(
                f"{self.path}: shape '{key}' is damaged ({error}); rebuild it: repeat the command that made the store, "
                f"latentsdf-preprocess or latentsdf import, with --glob '{key}' --overwrite"
            ) from error


def _make_group(folder: Path, temporary: Path) -> None:
    """Make a folder a group of Zarr, in one step: Zarr itself would leave a file in it if it is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "zarr.json").exists():
        (temporary / "group.json").write_bytes(_group_metadata({}))
        os.replace(temporary / "group.json", folder / "zarr.json")


def _put(new: Path, final: Path, aside: Path) -> None:
    """Move the folder of a shape to its place, and one that is there aside; other processes may do the same."""
    while True:
        if final.exists():
            # Deleting in place could be interrupted and leave an incomplete shape.
            shutil.rmtree(aside, ignore_errors=True)
            aside.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process has moved it aside
                os.replace(final, aside)
        try:
            os.replace(new, final)
        except OSError:
            if not final.exists():
                raise
            continue  # another process has written the same shape in between
        return


def write_text(store: SampleStore, name: str, text: str) -> None:
    """Write a text file beside the shapes of a store, atomically.

    Args:
        store: The store.
        name: Name of the file.
        text: Its content.

    Raises:
        StoreError: The disk is full.
    """
    if isinstance(store.path, ObjectPath):
        (store.path / name).write(text.encode())
        return
    with disk_full_as_store_error(store.path), atomic_write(store.path / name) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _attributes_of(config: SamplingConfig) -> dict[str, Any]:
    """Attributes of a new store."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "sampling": asdict(config),
        "settings_hash": _hash_of(asdict(config)),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "library": f"latentsdf {_library_version()}",
    }


def _group_metadata(attributes: dict[str, Any]) -> bytes:
    """Content of zarr.json of a group, as Zarr writes it."""
    return json.dumps({"attributes": attributes, "zarr_format": 3, "node_type": "group"}, indent=2).encode()


def _has_objects(path: ObjectPath) -> bool:
    return (path / "zarr.json").is_file() or next(path.files(), None) is not None


def _find_keys(store: StorePath) -> Iterator[str]:
    """Keys of all complete shapes, in any order."""
    shapes = store / "shapes"
    if isinstance(shapes, ObjectPath):
        for name, _ in shapes.files():
            if name.count("/") == 2 and name.endswith("/zarr.json"):
                yield name.removesuffix("/zarr.json")
        return
    for file in shapes.glob("*/*/zarr.json"):
        yield f"{file.parent.parent.name}/{file.parent.name}"


def _upload(new: Path, final: ObjectPath) -> None:
    """Write the files of a shape to object storage, its metadata last."""
    files = sorted(file for file in new.rglob("*") if file.is_file() and file != new / "zarr.json")
    (final / "zarr.json").delete()  # of an older record, whose arrays are replaced one after the other
    for file in files:
        (final / file.relative_to(new).as_posix()).write(file)
    _make_groups_above(final)
    (final / "zarr.json").write(new / "zarr.json")


def _copy_objects(source: ObjectPath, final: ObjectPath) -> None:
    """Copy a shape within object storage, its metadata last."""
    (final / "zarr.json").delete()
    for name, _ in source.files():
        if name != "zarr.json":
            (source / name).copy_to(final / name)
    _make_groups_above(final)
    (source / "zarr.json").copy_to(final / "zarr.json")


def _make_groups_above(shape: ObjectPath) -> None:
    """Write the metadata of the groups above a shape, with which Zarr lists the store; all writers write the same."""
    for group in (shape.parent.parent, shape.parent):
        (group / "zarr.json").write(_group_metadata({}), new=True)


def _copy_files(source: StorePath, new: Path, store: StorePath, *, link: bool) -> None:
    """Copy the folder of a shape to the disk, or link its files.

    Raises:
        StoreError: A file cannot be copied.
        ValueError: The folder has symbolic links.
    """
    if isinstance(source, ObjectPath):
        for name, _ in source.files():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes((source / name).read_bytes())
        return
    if any(path.is_symlink() for path in source.rglob("*")):
        raise ValueError("it has symbolic links, which latentsdf never makes")
    try:
        shutil.copytree(source, new, copy_function=os.link if link else shutil.copyfile)
    except shutil.Error as error:  # lists (source, destination, reason) for each file
        reason = str(error.args[0][0][2])
        if link:
            text = f"{store}: hard links cannot be made ({reason}); leave out --link to copy the files"
        else:
            text = f"{store}: a file cannot be copied ({reason}); mend this and repeat the command to continue"
        raise StoreError(text) from error


def _restore_replaced(store: Path, temporary: Path) -> None:
    """Move a shape back that was moved to a temporary folder, if the process was killed before it was replaced."""
    for path in temporary.glob("old/*/*/zarr.json"):
        key = f"{path.parent.parent.name}/{path.parent.name}"
        if is_key(key) and not (store / "shapes" / key).exists():
            require_no_links(store, "shapes", *key.split("/"), error=StoreError)
            os.replace(path.parent, store / "shapes" / key)


def _random_rows(folder: StorePath, name: str, share: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Read a fraction of the rows of an array that is stored in random order, from a random start."""
    total = zarr_layout.count_rows(folder, name)
    rows = math.ceil(share * total)
    start = int(rng.integers(total - rows + 1))
    return zarr_layout.read_rows(folder, name, slice(start, start + rows))


def _hash_of(sampling: dict[str, Any]) -> str:
    """Hash of sampling settings: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sampling, sort_keys=True).encode()).hexdigest()[:16]


def complete_key(name: str) -> str:
    """Return the key category/id of a shape; an id without a category gets the category `shape`.

    Raises:
        ConfigError: The name is not a valid key.
    """
    key = name if "/" in str(name) else f"shape/{name}"
    if not is_key(key):
        raise ConfigError(f"{name!r} is not a valid name of a shape; expected id or category/id, {RULE}")
    return key


def _library_version() -> str:
    try:
        return importlib.metadata.version("latentsdf")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def _require_same_lattice(record: ShapeRecord, config: SamplingConfig) -> None:
    samples = record.samples
    got = (samples.resolution, samples.band_voxels, samples.sparse_resolution)
    expected = (config.resolution, config.band_voxels, config.sparse_resolution)
    if got != expected:
        raise StoreError(
            f"'{record.key}': sampled with resolution, band_voxels, sparse_resolution {got}; the store has {expected}"
        )
