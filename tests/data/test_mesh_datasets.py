"""Tests of dataset layouts: detection, selection by category, pattern and split, duplicate keys."""

import json
from pathlib import Path

import pytest
import trimesh

from latentsdf.data.mesh_datasets import ShapeFile, find_frames, find_meshes, matches_pattern
from latentsdf.geometry.mesh import save
from latentsdf.utils.errors import ConfigError


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
    for text in ("{", "[]", '{"a": ["b"]}'):
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
