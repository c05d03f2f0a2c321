"""Samples whose distances other packages measure, compared with ours."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from helpers.meshes import torus

from latentsdf.config.sampling import DistanceBackend, SamplingConfig
from latentsdf.geometry.mesh_sdf.sampling import sample
from latentsdf.utils.errors import MissingExtraError
from preprocessing import __main__ as preprocess

CONFIG = SamplingConfig(resolution=64, band_voxels=3.0, sparse_resolution=16, near=2000, uniform=2000, surface=500)
ACCURACY: dict[str, float] = {"igl": 2e-7, "open3d": 1e-5, "mesh_to_sdf": 2e-2}
"""Largest error of a distance in model space."""


def _open_box() -> trimesh.Trimesh:
    """A box without its top: single-layer walls, which are thickened."""
    mesh = trimesh.creation.box((1, 1, 1)).subdivide()
    return trimesh.Trimesh(mesh.vertices, mesh.faces[mesh.triangles_center[:, 1] < 0.49], process=False)


@pytest.mark.slow
@pytest.mark.parametrize("backend", sorted(ACCURACY))
@pytest.mark.parametrize("mesh", [torus(), _open_box()], ids=["torus", "open box"])
def test_samples_measured_by_other_packages(backend: DistanceBackend, mesh: trimesh.Trimesh) -> None:
    """Points, signs and kept vertices equal ours, and distances do up to the accuracy of the package."""
    ours = sample(mesh, CONFIG, 5)
    try:
        theirs = sample(mesh, replace(CONFIG, distance=backend), 5)
    except MissingExtraError as error:
        pytest.skip(str(error))
    allowed = ACCURACY[backend]
    np.testing.assert_array_equal(theirs.surface, ours.surface)
    np.testing.assert_allclose(theirs.sparse_distance, ours.sparse_distance, atol=allowed)
    for one, other in ((theirs.near, ours.near), (theirs.uniform, ours.uniform)):
        np.testing.assert_array_equal(one[:, :3], other[:, :3])
        np.testing.assert_allclose(one[:, 3], other[:, 3], atol=allowed)
        clear = np.abs(other[:, 3]) > allowed
        np.testing.assert_array_equal(one[clear, 3] < 0, other[clear, 3] < 0)
    width = 3.0 * 2 / 64
    shared, at, of_ours = np.intersect1d(theirs.band_index, ours.band_index, return_indices=True)
    np.testing.assert_allclose(theirs.band_distance[at], ours.band_distance[of_ours], atol=allowed)
    assert len(shared) == len(theirs.band_index)
    missing = np.setdiff1d(np.arange(len(ours.band_index)), of_ours)
    assert (np.abs(ours.band_distance[missing]) > width - allowed).all()
    if backend == "mesh_to_sdf":
        again = sample(mesh, replace(CONFIG, distance=backend), 5)
        np.testing.assert_array_equal(again.band_distance, theirs.band_distance)


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says before the first shape that the package is missing, and how to install it."""
    monkeypatch.setitem(sys.modules, "mesh_to_sdf.surface_point_cloud", None)
    words = ["--source", "procedural", "--count", "1", "--category", "table", "--out", str(tmp_path / "a.zarr")]
    assert preprocess.main([*words, "--distance", "mesh_to_sdf"]) == 2
    assert "pip install 'latentsdf[mesh-to-sdf]'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a.zarr").exists()


def test_accuracy_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of the command lists the packages and their errors."""
    with pytest.raises(SystemExit):
        preprocess.main(["--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--distance {latentsdf,igl,open3d,mesh_to_sdf}" in said
    assert "`mesh_to_sdf` 7e-4 and 8e-3" in said
