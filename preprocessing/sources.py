"""Sources of shapes: mesh files, frames of D-FAUST registrations, generated shapes, and deformed copies of these."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import trimesh

from latentsdf.data import dfaust
from latentsdf.data.bodies import CATEGORY, BodySeed, require_anny
from latentsdf.data.furniture import FAMILIES, FurnitureSeed
from latentsdf.data.mesh_datasets import Layout, find_frames, find_meshes, matches_pattern
from latentsdf.data.shape_records import digest_of, file_digest
from latentsdf.geometry import mesh as meshes
from latentsdf.geometry.deformation import Axis, Deformation
from latentsdf.utils.errors import ConfigError

PROCEDURAL = "procedural"
"""Value of `--source` for procedural furniture."""
BODIES = "bodies"
"""Value of `--source` for human bodies."""


@runtime_checkable
class Generator(Protocol):
    """A shape that is generated from a seed; small, so that it can be sent to a worker process."""

    def mesh(self) -> trimesh.Trimesh:
        """Generate the mesh, the same on every call."""

    def recipe(self) -> dict[str, Any]:
        """Return the parameters of the shape as JSON values, for its record."""


@dataclass(frozen=True)
class Source:
    """One shape to preprocess: a mesh file, a frame of a D-FAUST file, or a generated shape; or a copy, deformed."""

    category: str
    """Category of the shape."""
    id: str
    """Identifier within the category."""
    path: Path | None = None
    """The file; None for a generated shape."""
    generator: Generator | None = None
    """The generator; None for a file."""
    original: str | None = None
    """For a deformed copy, the id of the original; otherwise None."""
    deformation: Deformation | None = None
    """For a deformed copy, the deformation of the cleaned mesh; otherwise None."""

    @property
    def key(self) -> str:
        """Key of the shape in the store, category/id."""
        return f"{self.category}/{self.id}"

    @property
    def name(self) -> str:
        """Name of the shape in messages: the file, the file and the frame, or the key; and the number of a copy."""
        if self.path is None:
            return self.key
        if is_registrations(self.path):
            return f"{self.path.name}: {self.id}"
        return self.path.name + (f": {self.id}" if self.original is not None else "")

    def load(self) -> trimesh.Trimesh:
        """Load or generate the mesh, in its original frame and, for a copy, before its deformation."""
        if self.generator is not None:
            return self.generator.mesh()
        if self.path is None:
            raise ConfigError(f"{self.key}: has neither a file nor a generator")
        frame = self.id if self.original is None else self.original
        return dfaust.load_frame(self.path, frame) if is_registrations(self.path) else meshes.load(self.path)

    def deformed(self, cleaned: trimesh.Trimesh) -> trimesh.Trimesh:
        """Deform the cleaned mesh of a copy; the mesh of another shape is returned unchanged."""
        return cleaned if self.deformation is None else self.deformation.deform(cleaned)

    def recipe(self) -> dict[str, Any]:
        """Return the recipe of the record, see `records.Provenance`."""
        recipe = {} if self.generator is None else self.generator.recipe()
        if self.deformation is not None:
            recipe |= {"original": f"{self.category}/{self.original}", "deformation": self.deformation.recipe()}
        return recipe

    def digest(self, mesh: trimesh.Trimesh | None = None) -> str:
        """Return the SHA-256 of the source.

        This is the digest of the mesh file or, for D-FAUST frames and generated shapes, of the mesh; for a copy, it is
        that of the digest of the original and the recipe.

        Args:
            mesh: The mesh from `load`, if it is already there.
        """
        if self.path is not None and not is_registrations(self.path):
            digest = file_digest(self.path)
        else:
            digest = digest_of(self.load() if mesh is None else mesh)
        if self.deformation is None:
            return digest
        return hashlib.sha256(f"{digest} {json.dumps(self.recipe(), sort_keys=True)}".encode()).hexdigest()


def is_registrations(path: Path) -> bool:
    """Return True if a file has the suffix of D-FAUST registrations."""
    return path.suffix.lower() in dfaust.SUFFIXES


def procedural(
    families: Sequence[str] = FAMILIES,
    *,
    count: int,
    first_seed: int = 0,
    pattern: str = "*",
    wide: bool = False,
) -> list[Source]:
    """Select procedural furniture.

    Args:
        families: Names of furniture families.
        count: Number of shapes per family, with consecutive seeds.
        first_seed: Seed of the first shape.
        pattern: Wildcard pattern of ids or of category/id, see `mesh_datasets.matches_pattern`.
        wide: Use the wide distribution of parameters; the ids then contain "wide".

    Raises:
        ConfigError: A family is unknown, or no shape is selected.
    """
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        raise ConfigError(f"no procedural family '{unknown[0]}'; the families are {', '.join(FAMILIES)}")
    kind = "_wide" if wide else ""
    candidates = [
        Source(family, f"{family}{kind}_{seed:04d}", generator=FurnitureSeed(family, seed, wide))
        for family in families
        for seed in range(first_seed, first_seed + count)
    ]
    return _select_generated(candidates, pattern)


def bodies(*, count: int, first_seed: int = 0, pattern: str = "*") -> list[Source]:
    """Select human bodies.

    Args:
        count: Number of bodies, with consecutive seeds.
        first_seed: Seed of the first one.
        pattern: Wildcard pattern of ids or of category/id, see `mesh_datasets.matches_pattern`.

    Raises:
        ConfigError: No shape is selected.
        MissingExtraError: anny is not installed.
    """
    require_anny()
    seeds = range(first_seed, first_seed + count)
    candidates = [Source(CATEGORY, f"{CATEGORY}_{seed:04d}", generator=BodySeed(seed)) for seed in seeds]
    return _select_generated(candidates, pattern)


def _select_generated(candidates: list[Source], pattern: str) -> list[Source]:
    chosen = [source for source in candidates if matches_pattern(source.category, source.id, pattern)]
    if not chosen:
        raise ConfigError(f"no shape selected out of {len(candidates)} procedural ones; see --count and --glob")
    return chosen


def files(
    root: Path,
    *,
    layout: Layout = "auto",
    step: int | None = None,
    categories: Sequence[str] = (),
    split: Path | None = None,
    pattern: str = "*",
) -> list[Source]:
    """Select mesh files of a folder, or frames of a D-FAUST file.

    Arguments and errors are those of `find_meshes` and `find_frames` in `latentsdf.data.mesh_datasets`.
    """
    if is_registrations(root):
        found = find_frames(root, step=step, categories=categories, split=split, pattern=pattern)
    else:
        found = find_meshes(root, layout=layout, categories=categories, split=split, pattern=pattern)
    return [Source(file.category, file.id, file.path.absolute()) for file in found]


def augmented(chosen: Sequence[Source], copies: int, *, seed: int = 0, mirror: Axis | None = None) -> list[Source]:
    """Add deformed copies of every shape.

    Copy k of a shape has the id <id>~k, from 1. Its deformation is a function of the seed, the key of the original, k
    and `mirror`, so more copies can be added to a store later.

    Args:
        chosen: The originals.
        copies: Number of copies of each.
        seed: Seed of the run.
        mirror: Mirror half of the copies along this axis, for categories whose shapes may be mirrored.

    Returns:
        Each original, followed by its copies.

    Raises:
        ConfigError: An original already has the id of a copy.
    """
    result = []
    for source in chosen:
        result.append(source)
        for number in range(1, copies + 1):
            digest = hashlib.sha256(f"{seed}/{source.key}~{number}".encode()).digest()
            deformation = Deformation.draw(np.random.default_rng(int.from_bytes(digest[:8], "big")), mirror)
            copy = replace(source, id=f"{source.id}~{number}", original=source.id, deformation=deformation)
            result.append(copy)
    keys = {source.key for source in chosen}
    taken = [source.key for source in result if source.original is not None and source.key in keys]
    if taken:
        raise ConfigError(f"--augment makes a copy {taken[0]}, but a shape of that name is selected; rename its file")
    return result
