"""Sources of shapes: mesh files on disk, frames of D-FAUST registrations, and procedural furniture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trimesh

from latentsdf.data import dfaust
from latentsdf.data.furniture import FAMILIES, furniture
from latentsdf.data.mesh_datasets import Layout, find_frames, find_meshes, matches_pattern
from latentsdf.data.shape_records import digest_of, file_digest
from latentsdf.geometry import mesh as meshes
from latentsdf.utils.errors import ConfigError

PROCEDURAL = "procedural"
"""Value of `--source` for procedural furniture."""


@dataclass(frozen=True)
class Source:
    """One shape to preprocess: a mesh file, a frame of a D-FAUST file, or a procedural shape."""

    category: str
    """Category of the shape; the family of a procedural one."""
    id: str
    """Identifier within the category."""
    path: Path | None = None
    """The file; None for a procedural shape."""
    seed: int = 0
    """Seed of a procedural shape."""

    @property
    def key(self) -> str:
        """Key of the shape in the store, category/id."""
        return f"{self.category}/{self.id}"

    @property
    def name(self) -> str:
        """Name of the shape in messages: the file, the file and the frame, or the key."""
        if self.path is None:
            return self.key
        return f"{self.path.name}: {self.id}" if is_registrations(self.path) else self.path.name

    def load(self) -> trimesh.Trimesh:
        """Load or generate the mesh, in its original frame."""
        if self.path is None:
            return furniture(self.category, self.seed)
        return dfaust.load_frame(self.path, self.id) if is_registrations(self.path) else meshes.load(self.path)

    def digest(self, mesh: trimesh.Trimesh | None = None) -> str:
        """Return the SHA-256 of the mesh file, or, for D-FAUST frames and procedural shapes, of the mesh.

        Args:
            mesh: The mesh, if it is already loaded.
        """
        if self.path is not None and not is_registrations(self.path):
            return file_digest(self.path)
        return digest_of(self.load() if mesh is None else mesh)


def is_registrations(path: Path) -> bool:
    """Return True if a file has the suffix of D-FAUST registrations."""
    return path.suffix.lower() in dfaust.SUFFIXES


def procedural(
    families: Sequence[str] = FAMILIES, *, count: int, first_seed: int = 0, pattern: str = "*"
) -> list[Source]:
    """Select procedural shapes.

    Args:
        families: Names of furniture families.
        count: Number of shapes per family, with consecutive seeds.
        first_seed: Seed of the first shape.
        pattern: Wildcard pattern of ids or of category/id, see `mesh_datasets.matches_pattern`.

    Raises:
        ConfigError: A family is unknown, or no shape is selected.
    """
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        raise ConfigError(f"no procedural family '{unknown[0]}'; the families are {', '.join(FAMILIES)}")
    seeds = range(first_seed, first_seed + count)
    candidates = [Source(family, f"{family}_{seed:04d}", seed=seed) for family in families for seed in seeds]
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
