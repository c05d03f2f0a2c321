"""Tests of dataset layouts: detection, selection by category, pattern and split, duplicate keys."""

import json
from pathlib import Path

import pytest
import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.data.mesh_datasets import ShapeFile, find_frames, find_meshes, matches_pattern
from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import save
from latentsdf.utils.errors import ConfigError
from latentsdf.utils.shape_ids import is_key


def test_shapenet_layouts(tmp_path: Path) -> None:
    """Both ShapeNet layouts are detected, and categories may be given by name or synset."""
    box = trimesh.creation.box((1, 1, 1))
    save(box, tmp_path / "v1" / "03001627" / "abc" / "model.obj")
    save(box, tmp_path / "v2" / "03001627" / "abc" / "models" / "model_normalized.obj")
    for version in ("v1", "v2"):
        for name in ("chair", "03001627"):
            found = find_meshes(tmp_path / version, categories=[name])
            assert [(f.category, f.id) for f in found] == [("03001627", "abc")]


def test_plain_folder(tmp_path: Path) -> None:
    """Any tree is a folder dataset: the folder of a mesh is its category, its stem the id."""
    for name in ("deep/down/box/a.obj", "ball/b.PLY", "ball/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_meshes(tmp_path)
    assert [(file.category, file.id) for file in found] == [("ball", "b"), ("box", "a")]
    assert find_meshes(tmp_path, layout="folder", pattern="ball/*") == [
        ShapeFile("ball", "b", tmp_path / "ball" / "b.PLY")
    ]
    with pytest.raises(ConfigError, match="no mesh selected out of 0 found"):
        find_meshes(tmp_path, layout="shapenet_v1")


def test_split_with_category_names(tmp_path: Path) -> None:
    """A split may use category names for synsets; malformed splits are rejected with the expected form."""
    box = trimesh.creation.box((1, 1, 1))
    for name in ("abc", "def"):
        save(box, tmp_path / "root" / "03001627" / name / "model.obj")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"ShapeNet": {"chair": ["def"]}}))
    assert [file.id for file in find_meshes(tmp_path / "root", split=split)] == ["def"]
    for text in ("{", "3", '{"a": "b"}', '{"a": {"b": "c"}}', "[[1]]", '{"a": {"b": [null]}}', "[" * 10_000):
        split.write_text(text)
        with pytest.raises(ConfigError, match="expected a DeepSDF split"):
            find_meshes(tmp_path / "root", split=split)


def test_duplicate_keys(tmp_path: Path) -> None:
    """Two files with the same category and id are rejected."""
    for name in ("one/box/a.obj", "two/box/a.obj"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="would both be shape box/a; rename one"):
        find_meshes(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected"), [("*", True), ("k_*", True), ("chair/*_01", True), ("lamp/*", False), ("chair", False)]
)
def test_patterns(pattern: str, expected: bool) -> None:
    """A pattern without a slash applies to the id, one with a slash to category/id."""
    assert matches_pattern("chair", "k_01", pattern) == expected


def test_categories_of_frames(registrations: Path) -> None:
    """By default every tenth frame is used."""
    found = find_frames(registrations, categories=["50002"])
    assert [file.id for file in found] == [f"50002_jumping_jacks_{frame:05d}" for frame in (0, 10, 20)]
    assert {file.category for file in found} == {"50002"}


def _keys(root: Path, **options: object) -> list[str]:
    return [f"{file.category}/{file.id}" for file in find_meshes(root, **options)]  # type: ignore[arg-type]


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


LAYOUTS = {
    "one folder per shape": (["mug/a/mesh.obj", "mug/b/mesh.obj", "pot/c/mesh.obj"], ["mug/a", "mug/b", "pot/c"]),
    "Google Scanned Objects": (["gso/Shoe_1/meshes/model.obj", "gso/Toy/meshes/model.obj"], ["gso/Shoe_1", "gso/Toy"]),
    "YCB": (
        ["ycb/002_can/google_16k/textured.obj", "ycb/003_box/google_16k/textured.obj"],
        ["ycb/002_can", "ycb/003_box"],
    ),
    "repeated names": (["a/1/lod0.ply", "a/2/lod0.ply"], ["a/1", "a/2"]),
    "ModelNet": (["chair/train/c_1.off", "chair/test/c_2.off"], ["chair/c_1", "chair/c_2"]),
    "split folders alone": (["train/c_1.off", "test/c_2.off"], ["test/c_2", "train/c_1"]),
    "generic name among others": (["box/model.obj", "box/other.obj"], ["box/model", "box/other"]),
    "ABC": (
        ["00000000/00000000_x_000.obj", "00000001/00000001_y_000.obj"],
        ["00000000/00000000_x_000", "00000001/00000001_y_000"],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_folder_layouts(name: str, tmp_path: Path) -> None:
    """Shapes are named after the folder or file that distinguishes them, in the layouts of common datasets."""
    files, expected = LAYOUTS[name]
    assert _keys(_touch(tmp_path / "root", *files)) == expected


def test_single_shapenet_category(tmp_path: Path) -> None:
    """The folder of one ShapeNet category is a dataset of this category."""
    for model in ("models/model_normalized.obj", "model.obj"):
        root = _touch(tmp_path / model.replace("/", "_") / "03001627", f"abc/{model}", f"def/{model}")
        assert _keys(root, categories=["chair"]) == ["03001627/abc", "03001627/def"]


def test_linked_folders(tmp_path: Path) -> None:
    """Links to folders are followed, and a link to a folder above does not lead in circles."""
    _touch(tmp_path / "elsewhere", "box/a.obj")
    root = _touch(tmp_path / "root", "ball/b.obj")
    (root / "box").symlink_to(tmp_path / "elsewhere" / "box")
    (root / "ball" / "up").symlink_to(root)
    assert _keys(root) == ["ball/b", "box/a"]


def test_folder_without_meshes(tmp_path: Path) -> None:
    """The message for a folder without meshes says what lies there."""
    with pytest.raises(
        ConfigError, match=r"0 found; it holds files with 2 \.step, 1 \.txt, but meshes are read from \.obj"
    ):
        find_meshes(_touch(tmp_path, "a/1.step", "a/2.STEP", "b.txt"))


def test_split_forms(tmp_path: Path) -> None:
    """Splits may lack the dataset, be lists of ids or keys, and write ids as numbers."""
    root = _touch(tmp_path / "root", "mug/1.obj", "mug/2.obj", "cup/3.obj")
    split = tmp_path / "split.json"
    for content in ({"x": {"mug": [1, "2"]}}, {"mug": ["1", 2]}, ["1", 2], ["mug/1", "mug/2"]):
        split.write_text(json.dumps(content), encoding="utf-8-sig")
        assert _keys(root, split=split) == ["mug/1", "mug/2"]
    split.write_text('["cup/1"]')
    with pytest.raises(ConfigError, match="1 of 1 shapes are not among the meshes, for example cup/1"):
        find_meshes(root, split=split)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (name, name)
        for name in ("a[1]", "a#b", "a&b", "it's", "e\u0301", "\N{CHAIR}", "a b", "100%", "a;b", "~a", "{a}", "$a", "!")
    ]
    + [("a:b", "a%3Ab"), ("a\\b", "a%5Cb"), ('"a"', "%22a%22"), ("__a", "%5F_a"), ("a*?", "a%2A%3F"), (".a", "%2Ea")],
)
def test_names_as_keys(name: str, expected: str, tmp_path: Path) -> None:
    """Every legal file name is the key of a shape in a store; characters that keys do not have are escaped."""
    _touch(tmp_path / "root" / "box", f"{name}.obj")
    assert _keys(tmp_path / "root") == [f"box/{expected}"]
    store = SampleStore.create(tmp_path / "s.zarr", SamplingConfig())
    assert f"box/{expected}" not in store  # a legal key that is absent; others raise an error when they are written
    assert is_key(f"box/{expected}")
