"""Shapes that an earlier version of the sampling algorithm sampled with known faults."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trimesh
from helpers.settings import SMALL_SAMPLING

import latentsdf as ls
from latentsdf.cli.info import describe_store
from latentsdf.data import hdf5
from latentsdf.data.records import ShapeInfo, ShapeRecord
from latentsdf.data.sampling_faults import find_known_faults, known_fault
from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import save
from latentsdf.geometry.mesh_sdf.sampling import SAMPLING_VERSION
from latentsdf.geometry.mesh_sdf.sign import SignReport
from preprocessing import __main__ as command

FLAGS = ["--resolution", "32", "--band-voxels", "2", "--sparse-resolution", "16", "--near", "200", "--uniform", "200",
         "--surface", "200"]  # fmt: skip


def _forget_version(store: SampleStore, key: str) -> None:
    """Make a stored shape one of an earlier version, which did not record it."""
    file = store.path / "shapes" / key / "zarr.json"
    content = json.loads(file.read_text())
    del content["attributes"]["sampling_version"]
    file.write_text(json.dumps(content))


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """Folder with a box without two faces, and a closed box."""
    box = trimesh.creation.box((1, 2, 3))
    open_box = trimesh.Trimesh(box.vertices, box.faces[2:], process=False)
    for name, mesh in (("open", open_box), ("closed", box)):
        save(mesh, tmp_path / "meshes" / "box" / f"{name}.ply")
    return tmp_path / "meshes"


@pytest.mark.parametrize(
    ("version", "method", "watertight", "sheet", "expected"),
    [
        (1, "visibility", False, 0.0, "signs next to wide holes can be wrong"),
        (1, "winding", False, 0.2, "signs next to wide holes can be wrong and distances between the faces of thin"),
        (1, "visibility", True, 0.2, "distances between the faces of thin walls"),
        (1, "visibility", True, 0.0, None),
        (1, "pseudonormal", True, 0.0, None),
        (1, "imported", False, 0.0, None),
        (1, "none", False, 0.0, None),
        (SAMPLING_VERSION, "visibility", False, 0.2, None),
    ],
)
def test_faults(
    version: int, method: str, watertight: bool, sheet: float, expected: str | None, lamp_store: SampleStore
) -> None:
    """Only shapes that the faults of the earlier version can concern have them."""
    info: ShapeInfo = replace(
        lamp_store.info("lamp/a"),
        sampling_version=version,
        watertight=watertight,
        sign=SignReport(method, 0.9, sheet),
    )
    fault = known_fault(info)
    assert fault is None if expected is None else fault is not None and fault.startswith(expected)


@pytest.mark.usefixtures("in_process")
def test_renewed_shapes(meshes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs, info and training say which shapes have known faults; only --renew samples them again, and only them."""
    words = ["--source", str(meshes), "--out", str(tmp_path / "s.zarr"), "--workers", "1", *FLAGS]
    assert command.main(words) == 0
    assert "earlier version" not in capsys.readouterr().err
    store = SampleStore.open(tmp_path / "s.zarr")
    for key in store:
        _forget_version(store, key)
    assert store.info("box/closed").sampling_version == 1
    assert command.main(words) == 0
    expected = "1 shape was sampled by an earlier version (box/open): distances between the faces of thin walls can be "
    assert expected in capsys.readouterr().err
    report = json.loads((store.path / "report.json").read_text())
    assert report["made"] == [] and list(report["known_faults"]) == ["box/open"]
    assert list(describe_store(store.path, verify=True)["known_faults"]) == ["box/open"]
    message = capsys.readouterr().err
    assert expected in message and "--renew" in message
    ls.preprocess(meshes, store.path, store.config)
    assert "pass renew=True" in capsys.readouterr().err
    assert command.main([*words, "--renew"]) == 0
    assert "sampled again box/open: sampled by an earlier version" in capsys.readouterr().err
    report = json.loads((store.path / "report.json").read_text())
    assert report["made"] == ["box/open"] and report["known_faults"] == {}
    assert find_known_faults(store, store) == {} and store.info("box/closed").sampling_version == 1
    _forget_version(store, "box/open")
    ls.preprocess(meshes, store.path, store.config, renew=True)
    assert store.info("box/open").sampling_version == SAMPLING_VERSION


def test_note_of_training(record: ShapeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training prints one note."""
    from helpers.settings import small_config

    from latentsdf.training.train import train

    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    for number in range(2):
        old = replace(record, id=f"old{number}", sampling_version=1, watertight=False)
        sign = SignReport("visibility", 0.99)
        store.write(replace(old, samples=replace(record.samples, sign=sign)))
    train(store, tmp_path / "space", small_config(steps=1))
    assert capsys.readouterr().err.count("2 shapes were sampled by an earlier version (lamp/old0, lamp/old1)") == 1


def test_version_in_exports(record: ShapeRecord, tmp_path: Path) -> None:
    """Exported files keep the version; files without one are those of version 1."""
    store = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    store.write(replace(record, sampling_version=1))
    hdf5.write_file(tmp_path / "s.h5", store, store.keys(), "lzf")
    config, (file,) = hdf5.open_file(tmp_path / "s.h5")
    assert hdf5.read_record(file, config).sampling_version == 1
    assert store.read(store.keys()[0]).sampling_version == 1
