"""Loading, cleaning and normalizing meshes; every broken file has its error."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from latentsdf.geometry.mesh import Similarity, clean, load, normalize, save
from latentsdf.utils.errors import ConfigError, MeshError


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".off", ".glb"])
def test_save_and_load_round_trip(suffix: str, tmp_path: Path) -> None:
    box = trimesh.creation.box((1, 2, 3))
    save(box, tmp_path / f"box{suffix}")
    back, _ = clean(load(tmp_path / f"box{suffix}"))
    assert back.is_watertight and np.isclose(back.volume, 6)
    assert [p.name for p in tmp_path.iterdir()] == [f"box{suffix}"]


def test_scenes_are_joined_with_their_transforms(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box((1, 1, 1)))
    scene.add_geometry(trimesh.creation.box((1, 1, 1)), transform=trimesh.transformations.translation_matrix((5, 0, 0)))
    scene.export(tmp_path / "two.glb")
    assert np.allclose(load(tmp_path / "two.glb").bounds, [[-0.5, -0.5, -0.5], [5.5, 0.5, 0.5]])


def test_clean_counts_what_it_removes() -> None:
    box = trimesh.creation.box((1, 1, 1))
    vertices = np.concatenate((box.vertices, [[np.nan] * 3], box.vertices[:1]))
    faces = np.concatenate((box.faces, box.faces[:2], [[0, 1, 1]], [[8, 0, 1]], [[9, 1, 0]]))
    cleaned, report = clean(trimesh.Trimesh(vertices, faces, process=False))
    assert cleaned.is_watertight and len(cleaned.faces) == 12 and len(cleaned.vertices) == 8
    assert (report.removed_vertices, report.duplicate_faces, report.merged_vertices) == (1, 2, 1)
    assert report.degenerate_faces == 2


@pytest.mark.parametrize("mode", ["sphere", "cube"])
def test_normalize_fits_model_space_and_goes_back(mode: str) -> None:
    mesh = trimesh.creation.cylinder(30, 170)
    mesh.apply_translation((1000, -5, 3))
    moved, similarity = normalize(mesh, mode)  # type: ignore[arg-type]
    size = np.linalg.norm(moved.vertices, axis=1).max() if mode == "sphere" else np.abs(moved.vertices).max()
    assert np.isclose(size, 1 / 1.03)
    assert np.allclose(similarity.to_user(moved.vertices), mesh.vertices)
    assert np.allclose(similarity.to_model(mesh.vertices), moved.vertices)


def test_normalize_none_refuses_what_is_outside_the_box() -> None:
    with pytest.raises(MeshError, match=r"coordinates reach 2, outside \[-1, 1\]"):
        normalize(trimesh.creation.box((4, 1, 1)), "none")
    small = trimesh.creation.box((1, 1, 1))
    assert normalize(small, "none")[1] == Similarity((0.0, 0.0, 0.0), 1.0)


def test_bad_files_name_themselves_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such mesh file"):
        load(tmp_path / "no.obj")
    (tmp_path / "a.step").write_text("x")
    with pytest.raises(MeshError, match=r"a\.step: '\.step' files are not read; convert to one of \.obj"):
        load(tmp_path / "a.step")
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(MeshError, match=r"flat\.obj: 1 faces cannot enclose a volume"):
        load(tmp_path / "flat.obj")
    with pytest.raises(ConfigError, match=r"cannot write '\.xyz'; use one of \.obj"):
        save(trimesh.creation.box(), tmp_path / "a.xyz")


BROKEN = {
    "empty.obj": "the file is empty",
    "huge_coordinates_1e12.ply": r"coordinates reach 7\.8e\+11",
    "nan_vertices.ply": r"\d\.\d% of the faces have vertices that are not finite",
    "not_a_mesh.obj": "has no faces",
    "one_triangle.obj": "1 faces cannot enclose a volume",
    "truncated.obj": "the last line is cut off",
    "truncated_binary.ply": "damaged or cut off",
    "zero_faces.ply": "has no faces",
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_broken_file_has_its_error(name: str, real_data: Path) -> None:
    with pytest.raises(MeshError, match=rf"^{name}: .*{BROKEN[name]}"):
        clean(load(real_data / "meshes" / "broken" / "broken" / name))


def test_the_broken_files_are_all_covered(real_data: Path) -> None:
    assert {p.name for p in (real_data / "meshes" / "broken" / "broken").iterdir()} == set(BROKEN)


def test_every_dirty_mesh_loads(real_data: Path) -> None:
    for path in sorted((real_data / "meshes" / "dirty" / "dirty").iterdir()):
        mesh, _ = clean(load(path))
        assert len(mesh.faces) >= 4 and np.isfinite(mesh.vertices).all()
