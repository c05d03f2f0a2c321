"""Signed distance samples of analytic shapes, and their dependence on the seed."""

import dataclasses

import numpy as np
import pytest
import trimesh
from helpers.meshes import box_distance

from latentsdf.config.sampling import SamplingConfig
from latentsdf.geometry.lattice import lattice_points
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.mesh_sdf.sampling import sample, samples_without_lattices, solid_from_config
from latentsdf.geometry.mesh_sdf.sign import SignReport
from latentsdf.utils.errors import ConfigError, MeshError

CONFIG = SamplingConfig(
    resolution=64, band_voxels=3.0, sparse_resolution=16, near=2000, near_std=0.025, uniform=1000, surface=1500
)


def test_samples_of_box_match_closed_form():
    """Lattice values, random points, surface points and normals of a box agree with its analytic distance."""
    half = np.array([0.52, 0.31, 0.66])
    samples = sample(trimesh.creation.box(2 * half), CONFIG, seed=3)
    dense = lattice_points(np.arange(65**3), 64)
    band = np.flatnonzero(np.abs(box_distance(dense, half)) <= 3 * 2 / 64)
    np.testing.assert_array_equal(samples.band_index, band)
    np.testing.assert_allclose(samples.band_distance, box_distance(dense[band], half), atol=1e-6)
    sparse = box_distance(lattice_points(np.arange(17**3), 16), half).reshape(17, 17, 17)
    np.testing.assert_allclose(samples.sparse_distance, sparse, atol=1e-6)
    for cloud, count in ((samples.near, 2000), (samples.uniform, 1000)):
        assert cloud.shape == (count, 4) and cloud.dtype == np.float32
        np.testing.assert_allclose(cloud[:, 3], box_distance(cloud[:, :3].astype(float), half), atol=1e-6)
    assert samples.near[:, 3].std() == pytest.approx(0.025, rel=0.1)
    points, normals = samples.surface[:, :3], samples.surface[:, 3:]
    np.testing.assert_allclose(box_distance(points, half), 0, atol=1e-6)
    np.testing.assert_allclose(box_distance(points + 0.01 * normals, half), 0.01, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["auto", "pseudonormal", "winding", "visibility"])
def test_signs_of_samples(sign):
    """Signs derived from lattices and components equal the sign rule evaluated at every point."""
    mesh = trimesh.util.concatenate([trimesh.creation.torus(0.6, 0.02), trimesh.creation.icosphere(3, radius=0.3)])
    samples = sample(mesh, dataclasses.replace(CONFIG, sign=sign), seed=0)
    distance = MeshDistance(mesh, sign)
    for cloud in (samples.near, samples.uniform):
        np.testing.assert_allclose(cloud[:, 3], distance(cloud[:, :3]), atol=1e-6)
    lattice = distance(lattice_points(samples.band_index, 64))
    np.testing.assert_allclose(samples.band_distance, lattice, atol=1e-6)


def test_confidence_of_distances_that_jump():
    """A jump of the distance between adjacent lattice vertices, across a hole, lowers the confidence."""
    sphere = trimesh.creation.icosphere(3, radius=0.9)
    open_sphere = trimesh.Trimesh(sphere.vertices, sphere.faces[sphere.triangles_center[:, 2] < 0.8], process=False)
    few = dataclasses.replace(CONFIG, near=10, uniform=10, surface=10)
    assert sample(sphere, few).sign.confidence == 1
    samples = sample(open_sphere, few)
    steps = [np.abs(np.diff(samples.sparse_distance, axis=axis)).max() - 2 / 16 for axis in range(3)]
    assert max(steps) > 0.3
    assert samples.sign.confidence <= 1 - max(steps) / (0.5 * np.linalg.norm(open_sphere.extents)) + 1e-5


def test_outward_normals_of_flipped_faces():
    """Normals of surface samples point outward although a third of the faces is reversed."""
    mesh = trimesh.creation.icosphere(3, radius=0.6)
    faces = np.array(mesh.faces)
    faces[::3] = faces[::3, ::-1]
    samples = sample(trimesh.Trimesh(mesh.vertices, faces, process=False), CONFIG, seed=0)
    points, normals = samples.surface[:, :3], samples.surface[:, 3:]
    assert samples.sign.method == "visibility"
    assert ((points * normals).sum(1) > 0.5).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_samples_by_seed():
    """Equal seeds give equal samples, and different seeds different random points."""
    mesh = trimesh.creation.icosphere(2, radius=0.5)
    a, b, c = (sample(mesh, CONFIG, seed=s) for s in (1, 1, 2))
    for field in ("band_index", "band_distance", "sparse_distance", "near", "uniform", "surface"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert (a.near != c.near).any() and (a.uniform != c.uniform).any() and (a.surface != c.surface).any()


def test_samples_without_lattices():
    """Scattered points are stored as given, and everything else is empty."""
    near, surface = np.ones((5, 4), np.float32), np.zeros((2, 3), np.float32)
    samples = samples_without_lattices(CONFIG, "imported", near=near, surface=surface)
    assert samples.near is near and samples.surface is surface
    assert samples.band_index.size == samples.band_distance.size == samples.sparse_distance.size == 0
    assert samples.uniform.shape == (0, 4) and samples.sign == SignReport("imported", 0.0)
    assert (samples.resolution, samples.band_voxels, samples.sparse_resolution) == (64, 3.0, 16)
    assert samples_without_lattices(CONFIG, "none").surface.shape == (0, 6)


def test_solid_from_config():
    """The sheet thickness is given in cells of the dense lattice."""
    square = trimesh.Trimesh(
        [[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0]], [[0, 1, 2], [0, 2, 3]], process=False
    )
    solid = solid_from_config(square, dataclasses.replace(CONFIG, sheet_thickness=2.0))
    assert solid.radius == 2.0 * 2 / 64 / 2
    assert solid(np.array([[0.25, 0.25, 0.0]]))[0] == pytest.approx(-solid.radius)
    assert solid_from_config(square, dataclasses.replace(CONFIG, sign="winding")).report.method == "winding"


def test_non_nested_resolutions():
    """The sparse lattice must be a subset of the dense one."""
    with pytest.raises(ConfigError, match="sparse_resolution must divide resolution, got 24 and 64"):
        sample(trimesh.creation.box((1, 1, 1)), dataclasses.replace(CONFIG, sparse_resolution=24), seed=0)


def test_mesh_larger_than_box():
    """A mesh that leaves the box is refused instead of cut off."""
    with pytest.raises(MeshError, match=r"reaches 2, outside the box \[-1, 1\]\^3.*normalize\(mesh\)"):
        sample(trimesh.creation.box((4, 1, 1)), CONFIG)


def test_mesh_without_faces():
    """The error states that there is no surface."""
    with pytest.raises(MeshError, match="no faces"):
        sample(trimesh.Trimesh(np.zeros((3, 3)), np.zeros((0, 3), int)), CONFIG)


def test_samples_of_real_chair(real_data):
    """A third-party mesh gets a plausible sign with high confidence."""
    from latentsdf.geometry.mesh import clean, load, normalize

    mesh, _ = normalize(clean(load(real_data / "meshes/furniture/chair/kenney_chair.ply"))[0], "sphere")
    samples = sample(mesh, CONFIG, seed=0)
    assert samples.sparse_distance[0, 0, 0] > 0 and (samples.band_distance < 0).mean() > 0.2
    assert samples.sign.confidence > 0.9
