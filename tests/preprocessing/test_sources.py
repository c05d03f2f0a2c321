"""Tests of shape sources: mesh files, D-FAUST frames and procedural shapes."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from latentsdf.data.dfaust import load_frame
from latentsdf.utils.errors import ConfigError, MeshError
from preprocessing import __main__ as command
from preprocessing.sources import Source, augmented, files, procedural


def test_selection_by_category_split_and_pattern(folder: Path, tmp_path: Path) -> None:
    """Mesh files and procedural shapes are selected by category, split and pattern; empty selections are errors."""
    assert [s.key for s in files(folder)] == ["ball/c", "box/a", "box/b", "box/broken"]
    assert [s.key for s in files(folder, categories=["ball"])] == ["ball/c"]
    assert [s.key for s in files(folder, pattern="b*")] == ["box/b", "box/broken"]
    assert [s.key for s in files(folder, pattern="box/?")] == ["box/a", "box/b"]
    assert [s.key for s in procedural(["lamp", "table"], count=3, pattern="*_0001")] == [
        "lamp/lamp_0001", "table/table_0001",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="no shape selected out of 3 procedural ones"):
        procedural(["lamp"], count=3, pattern="x*")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"x": {"box": ["a"]}}))
    assert [s.key for s in files(folder, split=split)] == ["box/a"]
    split.write_text(json.dumps({"x": {"box": ["a", "zz"]}}))
    with pytest.raises(ConfigError, match="1 of 2 shapes are not among the meshes, for example box/zz"):
        files(folder, split=split)
    with pytest.raises(ConfigError, match="no mesh selected out of 4 found; categories there: ball, box"):
        files(folder, categories=["sofa"])
    with pytest.raises(FileNotFoundError, match="no such folder of meshes"):
        files(tmp_path / "nowhere")


def test_selection_of_frames(registrations: Path, tmp_path: Path) -> None:
    """D-FAUST frames are selected by step, subject, split and pattern."""
    assert len(files(registrations)) == 3 + 1 and len(files(registrations, step=1)) == 25 + 3
    chosen = files(registrations, step=2, categories=["50004"])
    assert [s.id for s in chosen] == ["50004_punching_00000", "50004_punching_00002"]
    assert chosen[0].name == "registrations_f.hdf5: 50004_punching_00000"
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"x": {"50002": ["50002_jumping_jacks_00007"]}}))
    assert [s.key for s in files(registrations, split=split)] == ["50002/50002_jumping_jacks_00007"]
    with pytest.raises(ConfigError, match="no mesh selected out of 4 found; categories there: 50002, 50004"):
        files(registrations, pattern="60000_*")
    with pytest.raises(ConfigError, match="the frame step must be at least 1, got 0"):
        files(registrations, step=0)
    with pytest.raises(MeshError, match="has no frame '50004_punching_00003'"):
        load_frame(registrations, "50004_punching_00003")


def test_foreign_hdf5_files(registrations: Path, tmp_path: Path) -> None:
    """Missing files, other content and other layouts are rejected with the expected layout."""
    with pytest.raises(FileNotFoundError, match="no such file of registrations"):
        files(tmp_path / "none.hdf5")
    (tmp_path / "text.hdf5").write_text("no")
    with pytest.raises(MeshError, match="text.hdf5: is not an HDF5 file, or it is truncated"):
        files(tmp_path / "text.hdf5")
    with h5py.File(registrations, "a") as file:
        file["50004_turned"] = np.zeros((3, 8, 3))
    with pytest.raises(MeshError, match=r"sequences .V, 3, T. such as .* here '50004_turned' is .3, 8, 3."):
        files(registrations)
    with h5py.File(registrations, "a") as file:
        del file["faces"]
    with pytest.raises(MeshError, match="'faces' .F, 3. .* this file has 50002_jumping_jacks, 50004_punching"):
        files(registrations)
    assert command.main(["--source", str(registrations), "--out", str(tmp_path / "s.zarr")]) == 2


def test_digest_of_file_and_mesh(folder: Path) -> None:
    """The digest of a file is that of its bytes; the digest of a procedural shape is that of its mesh."""
    path = folder / "box" / "a.obj"
    assert Source("box", "a", path).digest() == hashlib.sha256(path.read_bytes()).hexdigest()
    lamps = procedural(["lamp"], count=2)
    assert lamps[0].digest() == lamps[0].digest(lamps[0].load()) != lamps[1].digest()


def test_ids_of_deformed_copies(folder: Path, registrations: Path) -> None:
    """Copies follow their original and have its id with ~ and a number; frames are read from that of the original."""
    chosen = augmented(files(folder, categories=["ball"]), 2)
    assert [s.key for s in chosen] == ["ball/c", "ball/c~1", "ball/c~2"]
    assert [s.name for s in chosen] == ["c.stl", "c.stl: c~1", "c.stl: c~2"]
    assert augmented(chosen[:1], 0) == chosen[:1]
    frame, copy = augmented(files(registrations, categories=["50004"])[:1], 1)
    assert np.array_equal(frame.load().vertices, copy.load().vertices)
    (folder / "ball" / "c.stl").rename(folder / "ball" / "c~1.stl")
    save_copy = folder / "ball" / "c.stl"
    save_copy.write_bytes((folder / "ball" / "c~1.stl").read_bytes())
    with pytest.raises(ConfigError, match="makes a copy ball/c~1, but a shape of that name is selected"):
        augmented(files(folder, categories=["ball"]), 1)


def test_determinism_of_deformed_copies(folder: Path) -> None:
    """Seed, key and number determine a copy, whatever else is selected; its digest changes with each of them."""
    box, ball = files(folder, pattern="box/a")[0], files(folder, categories=["ball"])[0]
    few, many = augmented([box], 1, seed=3), augmented([ball, box], 2, seed=3)
    assert few[1] == many[4] and few[1].digest() == many[4].digest()
    others = [augmented([box], 2, seed=3)[2], augmented([ball], 1, seed=3)[1], augmented([box], 1, seed=4)[1]]
    assert len({s.digest() for s in [box, few[1], *others]}) == 5
    assert len({s.deformation for s in [few[1], *others]}) == 4


def test_refused_flags(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flags without an effect or out of range are errors that name the flag to change."""
    words = ["--source", str(folder), "--out", str(tmp_path / "s.zarr")]
    for flags, message in (
        (["--wide"], "--wide is a choice of --source procedural"),
        (["--mirror", "x"], "--mirror acts on the copies that --augment makes"),
    ):
        assert command.main([*words, *flags]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    for flag, least in (("--limit", 1), ("--count", 1), ("--augment", 0)):
        with pytest.raises(SystemExit):
            command.main([*words, flag, str(least - 1)])
        assert f"{flag}: expected an integer >= {least}" in " ".join(capsys.readouterr().err.split())
