"""Loading, validation, cleaning, normalization and saving of meshes."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh import clean, load, normalize, require_coordinate_precision, save
from latentsdf.geometry.similarity import Similarity
from latentsdf.utils.errors import ConfigError, MeshError


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".off", ".glb"])
def test_save_and_load_round_trip(suffix: str, tmp_path: Path) -> None:
    """Saved meshes load with the same geometry, and no temporary file remains."""
    box = trimesh.creation.box((1, 2, 3))
    save(box, tmp_path / f"box{suffix}")
    back, _ = clean(load(tmp_path / f"box{suffix}"))
    assert back.is_watertight and np.isclose(back.volume, 6)
    assert [p.name for p in tmp_path.iterdir()] == [f"box{suffix}"]


def test_scene_transforms(tmp_path: Path) -> None:
    """Parts of a scene are transformed and concatenated."""
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box((1, 1, 1)))
    scene.add_geometry(trimesh.creation.box((1, 1, 1)), transform=trimesh.transformations.translation_matrix((5, 0, 0)))
    scene.export(tmp_path / "two.glb")
    assert np.allclose(load(tmp_path / "two.glb").bounds, [[-0.5, -0.5, -0.5], [5.5, 0.5, 0.5]])


def test_cleaning_report() -> None:
    """`clean` repairs a box with added defects and counts each kind of defect."""
    box = trimesh.creation.box((1, 1, 1))
    vertices = np.concatenate((box.vertices, [[np.nan] * 3], box.vertices[:1]))
    faces = np.concatenate((box.faces, box.faces[:2], [[0, 1, 1]], [[8, 0, 1]], [[9, 1, 0]]))
    cleaned, report = clean(trimesh.Trimesh(vertices, faces, process=False))
    assert cleaned.is_watertight and len(cleaned.faces) == 12 and len(cleaned.vertices) == 8
    assert (report.removed_vertices, report.duplicate_faces, report.merged_vertices) == (1, 2, 1)
    assert report.degenerate_faces == 2


def test_clean_rejections() -> None:
    """Meshes without a finite face, of a single point or mostly without area are rejected."""
    box = trimesh.creation.box((1, 1, 1))
    nonfinite = trimesh.Trimesh(np.full((8, 3), np.nan), box.faces, process=False)
    with pytest.raises(MeshError, match="no face with finite vertices"):
        clean(nonfinite)
    with pytest.raises(MeshError, match="all vertices coincide"):
        clean(trimesh.Trimesh(np.ones((8, 3)), box.faces, process=False))
    with pytest.raises(MeshError, match="100% of the faces have no area"):
        clean(trimesh.Trimesh(box.vertices * (1, 0, 0), box.faces, process=False))


def test_opposite_faces_kept() -> None:
    """Only copies with the same orientation are duplicates; the two sides of a sheet are not."""
    box = trimesh.creation.box((1, 1, 1))
    faces = np.concatenate((box.faces, np.roll(box.faces[:1], 1, axis=1), box.faces[:1, ::-1]))
    cleaned, report = clean(trimesh.Trimesh(box.vertices, faces, process=False))
    assert report.duplicate_faces == 1 and len(cleaned.faces) == 13


@pytest.mark.parametrize("mode", ["sphere", "cube"])
def test_normalized_extent(mode: str) -> None:
    """Normalized meshes reach 1/1.03, and the returned transform reproduces and inverts the normalization."""
    mesh = trimesh.creation.cylinder(30, 170)
    mesh.apply_translation((1000, -5, 3))
    moved, similarity = normalize(mesh, mode)  # type: ignore[arg-type]
    size = np.linalg.norm(moved.vertices, axis=1).max() if mode == "sphere" else np.abs(moved.vertices).max()
    assert np.isclose(size, 1 / 1.03)
    assert np.allclose(similarity.to_user(moved.vertices), mesh.vertices)
    assert np.allclose(similarity.to_model(mesh.vertices), moved.vertices)


def test_normalization_none() -> None:
    """Mode `none` keeps meshes inside the box and rejects others."""
    with pytest.raises(MeshError, match=r"coordinates reach 2, outside \[-1, 1\]"):
        normalize(trimesh.creation.box((4, 1, 1)), "none")
    small = trimesh.creation.box((1, 1, 1))
    assert normalize(small, "none")[1] == Similarity((0.0, 0.0, 0.0), 1.0)


def test_coordinate_precision_limits() -> None:
    """Coordinates of the wrong magnitude are rejected by name, and ordinary ones are accepted."""
    points = np.random.default_rng(0).uniform(size=(200, 3))
    require_coordinate_precision("chair", (points + 1e4).astype(np.float32))
    require_coordinate_precision("chair", points + 1e8)
    with pytest.raises(MeshError, match=r"^chair: .* near 1.0e\+06 were stored in single precision"):
        require_coordinate_precision("chair", (points + 1e6).astype(np.float32).astype(np.float64))
    text = (points + 1e6).astype(np.float32).astype(np.float64) + np.random.default_rng(1).uniform(0, 1e-3, (200, 3))
    with pytest.raises(MeshError, match="single precision"):
        require_coordinate_precision("chair", text * (1, 1, 1e-6))
    require_coordinate_precision("chair", (points + 1e6).round(2))
    with pytest.raises(MeshError, match=r"^chair: coordinates reach .*e\+13, too large for any unit of length"):
        require_coordinate_precision("chair", points * 1e13)


def test_existing_file_after_failed_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted export leaves the earlier file and no temporary file."""
    path = tmp_path / "box.ply"
    save(trimesh.creation.box((1, 1, 1)), path)
    before = path.read_bytes()

    def export(_: trimesh.Trimesh, file: Path, **__: object) -> None:
        file.write_bytes(b"part")
        raise OSError("interrupted")

    monkeypatch.setattr(trimesh.Trimesh, "export", export)
    with pytest.raises(OSError, match="interrupted"):
        save(trimesh.creation.box((2, 1, 1)), path)
    assert [file.name for file in tmp_path.iterdir()] == ["box.ply"] and path.read_bytes() == before


def test_unsupported_files(tmp_path: Path) -> None:
    """Error messages contain the file name and the reason."""
    with pytest.raises(FileNotFoundError, match="no such mesh file"):
        load(tmp_path / "no.obj")
    (tmp_path / "a.step").write_text("x")
    with pytest.raises(MeshError, match=r"a\.step: '\.step' files are not supported; convert to one of \.obj"):
        load(tmp_path / "a.step")
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(MeshError, match=r"flat\.obj: 1 faces cannot enclose a volume"):
        load(tmp_path / "flat.obj")
    with pytest.raises(ConfigError, match=r"cannot write '\.xyz'; use one of \.obj"):
        save(trimesh.creation.box(), tmp_path / "a.xyz")


BROKEN = {
    "empty.obj": "the file is empty",
    "huge_coordinates_1e12.ply": r"coordinates reach 7\.8e\+11, too large for any unit of length",
    "nan_vertices.ply": r"\d\.\d% of the faces have vertices that are not finite",
    "not_a_mesh.obj": "expected an index, got 'is'",
    "one_triangle.obj": "1 faces cannot enclose a volume",
    "truncated.obj": "the last line is truncated",
    "truncated_binary.ply": "declares 11,533 x vertex, but the file ends before; it is truncated",
    "zero_faces.ply": "has no faces",
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_file_error(name: str, real_data: Path) -> None:
    """Each damaged file is rejected with its name and the specific reason."""
    with pytest.raises(MeshError, match=rf"^{name}: .*{BROKEN[name]}"):
        clean(load(real_data / "meshes" / "broken" / "broken" / name))


def test_damaged_file_coverage(real_data: Path) -> None:
    """Every file of the folder of damaged files has an expected error."""
    assert {p.name for p in (real_data / "meshes" / "broken" / "broken").iterdir()} == set(BROKEN)


@pytest.mark.slow
def test_repairable_meshes(real_data: Path) -> None:
    """Meshes with repairable defects load and can be cleaned."""
    for path in sorted((real_data / "meshes" / "dirty" / "dirty").iterdir()):
        mesh, _ = clean(load(path))
        assert len(mesh.faces) >= 4 and np.isfinite(mesh.vertices).all()
