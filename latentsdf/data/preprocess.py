"""`latentsdf.preprocess`: sampling of meshes into a store, in this process."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentsdf.config.arguments import check_arguments
from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.mesh_datasets import find_meshes
from latentsdf.data.sampling_faults import find_known_faults, known_fault, note_known_faults
from latentsdf.data.shape_records import digest_of, make_record, shape_seed
from latentsdf.data.store import SampleStore, complete_key
from latentsdf.utils.console import show_note, track
from latentsdf.utils.errors import ConfigError, MeshError, StoreError


@check_arguments
def preprocess(
    shapes: Mapping | Path | str,  # type: ignore[type-arg]
    out: Path | str,
    config: SamplingConfig | None = None,
    *,
    seed: int = 0,
    overwrite: bool = False,
    renew: bool = False,
    strict: bool = False,
    **selection: Any,
) -> SampleStore:
    """Sample shapes into a store, one after the other, in this process.

    For a folder of meshes, the store equals that of `latentsdf-preprocess`, which uses all cores, isolates failures and
    limits time and memory; prefer it for large datasets. Shapes that the store already has are skipped, unless their
    file has changed.

    Args:
        shapes: A folder of meshes, in a layout of `latentsdf-preprocess --source`, or shapes by name (`id` or
            `category/id`): meshes, points, signed samples or files of these, as for `SampleStore.add`.
        out: Folder of the store; created if missing.
        config: Sampling settings, by default `SamplingConfig()`; an existing store must have the same ones.
        seed: Seed of the samples.
        overwrite: Sample shapes again that are already in the store.
        renew: Sample shapes again that an earlier version sampled with known faults.
        strict: Raise the error of the first shape that cannot be used, instead of skipping it with a note.
        **selection: For a folder, the keyword arguments of `latentsdf.data.mesh_datasets.find_meshes`: `layout`,
            `categories`, `split`, `pattern`.

    Returns:
        The store.

    Raises:
        FileNotFoundError: There is no such folder or file.
        ConfigError: A name or setting is not valid, or the folder has no meshes.
        MeshError: No shape can be used, or, with `strict`, one cannot.
        StoreError: The store has other settings, or the disk is full.

    Example:
        >>> import latentsdf as ls
        >>> store = ls.preprocess({"chair": "chair.obj", "stool": stool_mesh}, "furniture.zarr")
    """
    config = config or SamplingConfig()
    if config.sparse_resolution < 1:
        raise ConfigError(f"sparse_resolution must be at least 1, got {config.sparse_resolution}")
    if settings := [field.name for field in dataclasses.fields(SamplingConfig) if field.name in selection]:
        values = ", ".join(f"{name}={selection[name]!r}" for name in settings)
        raise ConfigError(f"preprocess takes settings as one object; pass config=ls.SamplingConfig({values})")
    if isinstance(shapes, Mapping):
        if selection:
            raise ConfigError(f"{', '.join(selection)} select meshes of a folder; shapes by name are all sampled")
        found = {complete_key(name): shape for name, shape in shapes.items()}
    else:
        found = {file.key: file.path for file in find_meshes(Path(shapes), **selection)}
    store = SampleStore.create(out, config)
    failed: dict[str, str] = {}
    with track("preprocessing", total=len(found), unit="shape") as advance:
        for key, shape in found.items():
            try:
                if overwrite or not _is_current(store, key, shape, seed, renew):
                    store.write(make_record(shape, key, config, seed))
            except (MeshError, FileNotFoundError) as error:
                if strict:
                    raise
                failed[key] = str(error).removeprefix(f"{key}: ")
            advance()
    note_known_faults(
        store.path, find_known_faults(store, found.keys() - failed), "pass renew=True to sample them again"
    )
    for key, reason in failed.items():
        show_note("failed", f"{key}: {reason}")
    if found and len(failed) == len(found):
        raise MeshError(f"no shape could be used; the first one, {next(iter(failed))}: {next(iter(failed.values()))}")
    return store


def _is_current(store: SampleStore, key: str, shape: Any, seed: int, renew: bool) -> bool:
    """Return whether the store has a shape, from the same source and, with `renew`, without known faults.

    Raises:
        StoreError: It was sampled with a different seed.
    """
    if key not in store:
        return False
    digest = digest_of(shape)
    try:
        stored, stored_seed = store.provenance(key)
        faulty = renew and known_fault(store.info(key)) is not None
    except StoreError:  # damaged
        return False
    if stored != digest or faulty:
        return False
    # The seed of points and signed samples, of which none are drawn, is a part of their digest.
    if stored_seed not in (shape_seed(key, seed), int(digest[:8], 16)):
        raise StoreError(
            f"{store.path}: expected {key} sampled with seed {seed}, found samples with a different seed; pass the "
            "original seed, overwrite=True, or another store"
        )
    return True
