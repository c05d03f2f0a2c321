"""Where shapes come from: mesh files on disk, frames of D-FAUST, or furniture made in code."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trimesh

from latentsdf.data import dfaust
from latentsdf.data.furniture import FAMILIES, furniture
from latentsdf.data.mesh_datasets import Layout, find_frames, find_meshes, matches_pattern
from latentsdf.geometry import mesh as meshes
from latentsdf.utils.errors import ConfigError

PROCEDURAL = "procedural"


@dataclass(frozen=True)
class Source:
    """One shape to preprocess: a mesh file, a frame of an HDF5 file, or the seed of a procedural family member."""

    category: str
    id: str
    path: Path | None = None
    seed: int = 0

    @property
    def key(self) -> str:
        """category/id"""
        return f"{self.category}/{self.id}"

    @property
    def name(self) -> str:
        """What reports call it."""
        if self.path is None:
            return self.key
        return f"{self.path.name}: {self.id}" if is_registrations(self.path) else self.path.name

    def load(self) -> trimesh.Trimesh:
        """The mesh as it comes."""
        if self.path is None:
            return furniture(self.category, self.seed)
        return dfaust.load_frame(self.path, self.id) if is_registrations(self.path) else meshes.load(self.path)

    def digest(self, mesh: trimesh.Trimesh | None = None) -> str:
        """SHA-256 of the file, or, where it holds many shapes or there is none, of the mesh; give it where at hand."""
        if self.path is not None and not is_registrations(self.path):
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        mesh = self.load() if mesh is None else mesh
        return hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest()


def is_registrations(path: Path) -> bool:
    """Is this, by its suffix, a file of D-FAUST registrations?"""
    return path.suffix.lower() in dfaust.SUFFIXES


def procedural(
    families: Sequence[str] = FAMILIES, *, count: int, first_seed: int = 0, pattern: str = "*"
) -> list[Source]:
    """`count` members of each family, with consecutive seeds, of which a pattern of ids or keys selects.

    Raises ConfigError for an unknown family, or when nothing is selected.
    """
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        raise ConfigError(f"no procedural family '{unknown[0]}'; there are {', '.join(FAMILIES)}")
    seeds = range(first_seed, first_seed + count)
    made = [Source(family, f"{family}_{seed:04d}", seed=seed) for family in families for seed in seeds]
    chosen = [source for source in made if matches_pattern(source.category, source.id, pattern)]
    if not chosen:
        raise ConfigError(f"no shape selected out of {len(made)} procedural ones; see --count and --glob")
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
    """Mesh files under a folder, or frames of a D-FAUST file; see `latentsdf.data.mesh_datasets`."""
    if is_registrations(root):
        found = find_frames(root, step=step, categories=categories, split=split, pattern=pattern)
    else:
        found = find_meshes(root, layout=layout, categories=categories, split=split, pattern=pattern)
    return [Source(file.category, file.id, file.path.absolute()) for file in found]
