"""Samples of analytic shapes carry their analytic distance; same seed, same samples."""

import dataclasses

import numpy as np
import pytest
import trimesh

from latentsdf.config.sampling import SamplingConfig
from latentsdf.geometry.lattice import lattice_points
from latentsdf.geometry.mesh_sdf.mesh_distance import MeshDistance
from latentsdf.geometry.mesh_sdf.sampling import sample
from latentsdf.utils.errors import ConfigError

CONFIG = SamplingConfig(
    resolution=64, band_voxels=3.0, sparse_resolution=16, near=2000, near_std=0.025, uniform=1000, surface=1500
)


def box(half):
    return trimesh.creation.box(2 * np.asarray(half))


def box_distance(points, half):
    q = np.abs(points) - half
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)


def test_every_sample_of_a_box():
    half = np.array([0.52, 0.31, 0.66])
    samples = sample(box(half), CONFIG, seed=3)
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


@pytest.mark.parametrize("sign", ["auto", "pseudonormal", "winding", "visibility"])
def test_lattice_shortcuts_keep_the_sign_of_the_rule(sign):
    mesh = trimesh.util.concatenate([trimesh.creation.torus(0.6, 0.02), trimesh.creation.icosphere(3, radius=0.3)])
    samples = sample(mesh, dataclasses.replace(CONFIG, sign=sign), seed=0)
    distance = MeshDistance(mesh, sign)
    for cloud in (samples.near, samples.uniform):
        np.testing.assert_allclose(cloud[:, 3], distance(cloud[:, :3]), atol=1e-6)
    lattice = distance(lattice_points(samples.band_index, 64))
    np.testing.assert_allclose(samples.band_distance, lattice, atol=1e-6)


def test_normals_point_out_of_flipped_faces():
    mesh = trimesh.creation.icosphere(3, radius=0.6)
    faces = np.array(mesh.faces)
    faces[::3] = faces[::3, ::-1]
    samples = sample(trimesh.Trimesh(mesh.vertices, faces, process=False), CONFIG, seed=0)
    points, normals = samples.surface[:, :3], samples.surface[:, 3:]
    assert samples.sign.method == "visibility"
    assert ((points * normals).sum(1) > 0.5).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_seed_decides():
    mesh = trimesh.creation.icosphere(2, radius=0.5)
    a, b, c = (sample(mesh, CONFIG, seed=s) for s in (1, 1, 2))
    for field in ("band_index", "band_distance", "sparse_distance", "near", "uniform", "surface"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert (a.near != c.near).any() and (a.uniform != c.uniform).any() and (a.surface != c.surface).any()


def test_lattice_points():
    points = lattice_points(np.array([0, 1, 5, 25, 124]), 4)
    np.testing.assert_array_equal(points, [[-1, -1, -1], [-1, -1, -0.5], [-1, -0.5, -1], [-0.5, -1, -1], [1, 1, 1]])
    assert points.dtype == np.float32


def test_resolutions_must_nest():
    with pytest.raises(ConfigError, match="sparse_resolution must divide resolution, got 24 and 64"):
        sample(box([0.5] * 3), dataclasses.replace(CONFIG, sparse_resolution=24), seed=0)


def test_real_chair(real_data):
    from latentsdf.geometry.mesh import clean, load, normalize

    mesh, _ = normalize(clean(load(real_data / "meshes/furniture/chair/kenney_chair.ply"))[0], "sphere")
    samples = sample(mesh, CONFIG, seed=0)
    assert samples.sparse_distance[0, 0, 0] > 0 and (samples.band_distance < 0).mean() > 0.2
    assert samples.sign.confidence > 0.9
