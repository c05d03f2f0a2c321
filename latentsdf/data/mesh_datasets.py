"""Shapes of a dataset on disk, found by its directory layout and selected by category, split and id.

`folder`, any tree of mesh files:

    <root>/.../<category>/<id>.obj         any suffix of `geometry.mesh.SUFFIXES`
    <root>/.../<category>/<id>/mesh.obj    one file of the same name per shape (Google Scanned Objects)
    <root>/.../<category>/train/<id>.off   folders named train, test, val or validation are not categories (ModelNet)

`shapenet_v1`, ShapeNetCore.v1:

    <root>/<synset>/<id>/model.obj         for example 03001627/1006be65e7bc937e9141f9b58470d646/model.obj

`shapenet_v2`, ShapeNetCore.v2:

    <root>/<synset>/<id>/models/model_normalized.obj

The root may also be the folder of one ShapeNet category. `auto` tries ShapeNetCore.v2, then v1, then `folder`. Symbolic
links to folders are followed. Characters of file names that are not allowed in keys are written as %XX.
A D-FAUST file contains one mesh per frame, see `dfaust`.

A split file of DeepSDF selects shapes: `{"<dataset>": {"<class>": ["<id>", ...]}}`, without the outer level, or a list
of ids or of category/id. Categories of ShapeNet may be given by synset or by name, in splits and everywhere else.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from latentsdf.data import dfaust
from latentsdf.geometry.mesh import SUFFIXES
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.json_files import parse_json
from latentsdf.utils.shape_ids import RULE, is_id, is_key, key_part

Layout = Literal["auto", "shapenet_v1", "shapenet_v2", "folder"]
"""Directory layout of a dataset, see the module docstring."""

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
"""Category names of the ShapeNetCore synsets."""


_SPLIT_FOLDERS = ("train", "test", "val", "validation")
_INNER_FOLDERS = ("mesh", "meshes", "model", "models", "google_16k", "visual", "textured")
_GENERIC_NAMES = ("mesh", "model", "model_normalized", "textured", "nontextured", "object", "scan")


@dataclass(frozen=True)
class ShapeFile:
    """One shape of a dataset on disk."""

    category: str
    """Name of the category, or its synset for ShapeNet."""
    id: str
    """Identifier within the category."""
    path: Path
    """File that contains the shape, and possibly other shapes."""

    @property
    def key(self) -> str:
        """Key of the shape in a store, category/id."""
        return f"{self.category}/{self.id}"


def find_meshes(
    root: Path,
    *,
    layout: Layout = "auto",
    categories: Iterable[str] = (),
    split: Path | None = None,
    pattern: str = "*",
    suffixes: Sequence[str] = SUFFIXES,
) -> list[ShapeFile]:
    """Find the mesh files of a dataset.

    Args:
        root: Root folder of the dataset.
        layout: Directory layout.
        categories: Names or synsets of the categories to select; all if empty.
        split: DeepSDF split file that selects shapes.
        pattern: Pattern of ids or of category/id, see `matches_pattern`.
        suffixes: Suffixes of the files in the layout `folder`, in lower case.

    Returns:
        The selected shapes, sorted by category and id.

    Raises:
        FileNotFoundError: The folder or the split does not exist.
        ConfigError: No shape is selected, the split has shapes that the dataset lacks, or two files have the same key.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder of meshes")
    return select_shapes(_find_by_layout(root, layout, suffixes), root, categories, split, pattern)


def find_frames(
    path: Path,
    *,
    step: int | None = None,
    categories: Iterable[str] = (),
    split: Path | None = None,
    pattern: str = "*",
) -> list[ShapeFile]:
    """Find the frames of a D-FAUST file; the category of a frame is its subject.

    Args:
        path: The HDF5 file.
        step: Use every `step`-th frame of each sequence; by default 10, or 1 with a split.
        categories: Subjects to select, for example 50002; all if empty.
        split: DeepSDF split file that selects frames.
        pattern: Pattern of ids or of category/id, see `matches_pattern`.

    Raises:
        FileNotFoundError: The file or the split does not exist.
        ConfigError: No frame is selected, the split has frames that the file lacks, or the step is below 1.
        MeshError: The file has another layout.
    """
    step = step if step is not None else (10 if split is None else 1)
    found = [ShapeFile(name.partition("_")[0], name, path) for name in dfaust.find_frames(path, step)]
    return select_shapes(found, path, categories, split, pattern)


def select_shapes(
    found: list[ShapeFile], root: Path, categories: Iterable[str], split: Path | None, pattern: str
) -> list[ShapeFile]:
    """Select some of the shapes found in `root`.

    Arguments, order and errors are as in `find_meshes`.
    """
    wanted = {_synset(name) for name in categories}
    selected = found if split is None else _apply_split(found, split)
    selected = [
        file
        for file in selected
        if (not wanted or _synset(file.category) in wanted) and matches_pattern(file.category, file.id, pattern)
    ]
    if not selected:
        if not found and root.is_dir():
            raise ConfigError(f"{root}: no mesh selected out of 0 found; {_describe_files(root)}")
        known = sorted({f.category for f in found})
        raise ConfigError(
            f"{root}: no mesh selected out of {len(found)} found; categories there: {', '.join(known) or 'none'}"
        )
    _require_unique(selected)
    return sorted(selected, key=lambda f: (f.category, f.id))


def matches_pattern(category: str, id: str, pattern: str) -> bool:
    """Return whether a shape matches a pattern of shell wildcards.

    Args:
        category: Category of the shape.
        id: Identifier of the shape.
        pattern: Pattern of ids, such as 'kenney_*', or, if it has a slash, of category/id, such as 'chair/*_01'.
    """
    return fnmatchcase(f"{category}/{id}" if "/" in pattern else id, pattern)


def _find_by_layout(root: Path, layout: Layout, suffixes: Sequence[str]) -> list[ShapeFile]:
    patterns = {"shapenet_v2": "models/model_normalized.obj", "shapenet_v1": "model.obj"}
    for name, pattern in patterns.items():
        if layout in ("auto", name):
            level = 1 if name == "shapenet_v2" else 0
            paths = [path for path in root.glob(f"*/*/{pattern}") if path.parents[level + 1] != root]
            if not paths and (layout == name or root.name in SYNSETS):
                paths = list(root.absolute().glob(f"*/{pattern}"))
            if paths or layout == name:
                return [
                    ShapeFile(key_part(p.parents[level + 1].name), key_part(p.parents[level].name), p) for p in paths
                ]
    return _find_in_folders(root, suffixes)


def find_files(root: Path, suffixes: Iterable[str]) -> list[Path]:
    """Find all files below a folder with one of some suffixes, in any case; links to folders are followed."""
    wanted = tuple(suffixes)
    return [path for path in _walk(root) if path.suffix.lower() in wanted and path.is_file()]


def _walk(root: Path) -> Iterator[Path]:
    """All files below a folder; links to folders are followed, but none is entered twice on one path."""
    for folder, inner, names in os.walk(root, followlinks=True):
        above = {os.path.realpath(parent) for parent in (Path(folder), *Path(folder).parents)}
        paths = {name: Path(folder, name) for name in sorted(inner)}
        inner[:] = [name for name, p in paths.items() if not (p.is_symlink() and os.path.realpath(p) in above)]
        yield from (Path(folder, name) for name in sorted(names))


def _find_in_folders(root: Path, suffixes: Sequence[str]) -> list[ShapeFile]:
    paths = find_files(root, suffixes)
    alone = Counter(path.parent for path in paths)
    # A file name cannot identify a shape if sibling folders each hold a single file of that name.
    folders_by_name = Counter((p.stem, _shape_folder(p, root).parent) for p in paths if alone[p.parent] == 1)
    found = []
    for path in paths:
        folder = _shape_folder(path, root)
        repeated = alone[path.parent] == 1 and (
            folders_by_name[path.stem, folder.parent] > 1 or path.stem.lower() in _GENERIC_NAMES
        )
        if repeated and folder != root and folder.parent != root.parent:
            category, name = folder.parent, folder.name
        else:
            category, name = path.parent, path.stem
        if category.name.lower() in _SPLIT_FOLDERS and root in category.parent.parents:
            category = category.parent
        found.append(ShapeFile(key_part(category.name or category.resolve().name), key_part(name), path))
    return found


def _shape_folder(path: Path, root: Path) -> Path:
    """Folder that names the shape if its file does not: above folders such as `meshes`."""
    folder = path.parent
    while folder.name.lower() in _INNER_FOLDERS and root in folder.parents and folder.parent != root:
        folder = folder.parent
    return folder


def _describe_files(root: Path) -> str:
    """Count the files in a folder without meshes, by suffix."""
    counts = Counter(path.suffix.lower() or "no suffix" for path in _walk(root))
    if not counts:
        return "it holds no files"
    listed = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common(5))
    return f"it holds files with {listed}, but meshes are read from {', '.join(SUFFIXES)}"


def _apply_split(files: list[ShapeFile], split: Path) -> list[ShapeFile]:
    if not split.is_file():
        raise FileNotFoundError(f"{split}: no such split file")
    try:
        listed = _listed_shapes(parse_json(split.read_text(encoding="utf-8-sig")))
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f'{split}: expected a DeepSDF split, {{"dataset": {{"class": ["id", ...]}}}}, the same without the '
            "dataset, or a list of ids"
        ) from error
    for category, id in sorted(listed):
        if not (is_key(f"{category}/{id}") if category else is_id(id)):
            name = f"{category}/{id}" if category else id
            raise ConfigError(f"{split}: {name!r} is not a valid id; expected id or category/id, {RULE}")
    known = {(_synset(f.category), f.id) for f in files} | {("", f.id) for f in files}
    missing = sorted(listed - known)
    if missing:
        raise ConfigError(
            f"{split}: {len(missing)} of {len(listed)} shapes are not among the meshes, for example "
            f"{', '.join('/'.join(filter(None, shape)) for shape in missing[:3])}"
        )
    return [f for f in files if (_synset(f.category), f.id) in listed or ("", f.id) in listed]


def _listed_shapes(content: Any) -> set[tuple[str, str]]:
    """Synset or category, empty for any, and id of the shapes of a split."""
    if isinstance(content, list):
        parts = [_id(entry).rpartition("/") for entry in content]
        return {(_synset(category), id) for category, _, id in parts}
    if any(isinstance(value, list) for value in content.values()):
        content = {"": content}
    return {(_synset(c), _id(i)) for classes in content.values() for c, ids in classes.items() for i in _entries(ids)}


def _entries(ids: Any) -> list[Any]:
    if not isinstance(ids, list):
        raise TypeError
    return ids


def _id(entry: Any) -> str:
    """Id of a split, which some tools write as a number."""
    if isinstance(entry, bool) or not isinstance(entry, str | int):
        raise TypeError
    return str(entry)


def _require_unique(files: list[ShapeFile]) -> None:
    seen: dict[tuple[str, str], Path] = {}
    for file in files:
        other = seen.setdefault((file.category, file.id), file.path)
        if other != file.path:
            raise ConfigError(f"{other} and {file.path} would both be shape {file.category}/{file.id}; rename one")


def _synset(name: str) -> str:
    """Synset of a ShapeNet category name; any other name unchanged."""
    names = {label: synset for synset, label in SYNSETS.items()}
    return names.get(name, name)
