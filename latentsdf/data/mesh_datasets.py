"""Mesh files of a dataset on disk -> (category, id, path), by layout and split.

Layouts: `shapenet_v1` <root>/<synset>/<id>/model.obj, `shapenet_v2` <root>/<synset>/<id>/models/model_normalized.obj,
and `folder`, any tree of mesh files whose folder is the category and whose stem is the id. A file of D-FAUST
registrations holds one mesh a frame, whose category is the subject.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from latentsdf.data import dfaust
from latentsdf.geometry.mesh import SUFFIXES
from latentsdf.utils.errors import ConfigError

Layout = Literal["auto", "shapenet_v1", "shapenet_v2", "folder"]

SYNSETS = {
    "02691156": "airplane",
    "02747177": "bin",
    "02773838": "bag",
    "02801938": "basket",
    "02808440": "bathtub",
    "02818832": "bed",
    "02828884": "bench",
    "02834778": "bicycle",
    "02843684": "birdhouse",
    "02871439": "bookshelf",
    "02876657": "bottle",
    "02880940": "bowl",
    "02924116": "bus",
    "02933112": "cabinet",
    "02942699": "camera",
    "02946921": "can",
    "02954340": "cap",
    "02958343": "car",
    "02992529": "cellphone",
    "03001627": "chair",
    "03046257": "clock",
    "03085013": "keyboard",
    "03207941": "dishwasher",
    "03211117": "display",
    "03261776": "earphone",
    "03325088": "faucet",
    "03337140": "file",
    "03467517": "guitar",
    "03513137": "helmet",
    "03593526": "jar",
    "03624134": "knife",
    "03636649": "lamp",
    "03642806": "laptop",
    "03691459": "loudspeaker",
    "03710193": "mailbox",
    "03759954": "microphone",
    "03761084": "microwave",
    "03790512": "motorcycle",
    "03797390": "mug",
    "03928116": "piano",
    "03938244": "pillow",
    "03948459": "pistol",
    "03991062": "pot",
    "04004475": "printer",
    "04074963": "remote",
    "04090263": "rifle",
    "04099429": "rocket",
    "04225987": "skateboard",
    "04256520": "sofa",
    "04330267": "stove",
    "04379243": "table",
    "04401088": "telephone",
    "04460130": "tower",
    "04468005": "train",
    "04530566": "watercraft",
    "04554684": "washer",
}
"""ShapeNetCore synset offsets and the names users know them by."""


@dataclass(frozen=True)
class MeshFile:
    """One shape of a dataset; several may share a file."""

    category: str
    id: str
    path: Path


def find_meshes(
    root: Path,
    *,
    layout: Layout = "auto",
    categories: Iterable[str] = (),
    split: Path | None = None,
    pattern: str = "*",
) -> list[MeshFile]:
    """Mesh files under a folder, sorted, chosen by category (name or synset), DeepSDF split file, and pattern of ids.

    Raises FileNotFoundError for a missing folder or split, ConfigError when nothing is selected or the split names
    shapes that are not there.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of meshes")
    return choose(_by_layout(root, layout), root, categories, split, pattern)


def find_frames(
    path: Path,
    *,
    step: int | None = None,
    categories: Iterable[str] = (),
    split: Path | None = None,
    pattern: str = "*",
) -> list[MeshFile]:
    """Frames of a file of D-FAUST registrations, chosen as in `find_meshes`; the category is the subject.

    Every `step`-th frame of each sequence, by default every tenth, or all of them when a split selects.
    """
    step = step if step is not None else (10 if split is None else 1)
    found = [MeshFile(name.partition("_")[0], name, path) for name in dfaust.frames(path, step)]
    return choose(found, path, categories, split, pattern)


def choose(
    found: list[MeshFile], root: Path, categories: Iterable[str], split: Path | None, pattern: str
) -> list[MeshFile]:
    """Those of the shapes found in `root` that were asked for; see `find_meshes`."""
    wanted = {_synset(name) for name in categories}
    chosen = found if split is None else _apply_split(found, split)
    chosen = [f for f in chosen if (not wanted or _synset(f.category) in wanted) and matches(f.category, f.id, pattern)]
    if not chosen:
        known = sorted({f.category for f in found})
        raise ConfigError(
            f"{root}: no mesh selected out of {len(found)} found; categories there: {', '.join(known) or 'none'}"
        )
    _require_unique(chosen)
    return sorted(chosen, key=lambda f: (f.category, f.id))


def matches(category: str, id: str, pattern: str) -> bool:
    """Does a pattern of ids, such as 'kenney_*', or of category/id, such as 'chair/*_01', select this shape?"""
    return fnmatchcase(f"{category}/{id}" if "/" in pattern else id, pattern)


def _by_layout(root: Path, layout: Layout) -> list[MeshFile]:
    patterns = {"shapenet_v2": "*/*/models/model_normalized.obj", "shapenet_v1": "*/*/model.obj"}
    for name, pattern in patterns.items():
        if layout in ("auto", name):
            paths = list(root.glob(pattern))
            if paths or layout == name:
                above = 1 if name == "shapenet_v2" else 0
                return [MeshFile(p.parents[above + 1].name, p.parents[above].name, p) for p in paths]
    files = (p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return [MeshFile(p.parent.name, p.stem, p) for p in files]


def _apply_split(files: list[MeshFile], split: Path) -> list[MeshFile]:
    if not split.is_file():
        raise FileNotFoundError(f"{split}: no such split file")
    try:
        datasets = json.loads(split.read_text())
        listed = {(_synset(c), i) for classes in datasets.values() for c, ids in classes.items() for i in ids}
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise ConfigError(f'{split}: expected a DeepSDF split, {{"dataset": {{"class": ["id", ...]}}}}') from error
    missing = sorted(listed - {(_synset(f.category), f.id) for f in files})
    if missing:
        raise ConfigError(
            f"{split}: {len(missing)} of {len(listed)} shapes are not among the meshes, for example "
            f"{', '.join('/'.join(shape) for shape in missing[:3])}"
        )
    return [f for f in files if (_synset(f.category), f.id) in listed]


def _require_unique(files: list[MeshFile]) -> None:
    seen: dict[tuple[str, str], Path] = {}
    for file in files:
        other = seen.setdefault((file.category, file.id), file.path)
        if other != file.path:
            raise ConfigError(f"{other} and {file.path} would both be shape {file.category}/{file.id}; rename one")


def _synset(name: str) -> str:
    names = {label: synset for synset, label in SYNSETS.items()}
    return names.get(name, name)
