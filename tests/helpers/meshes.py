"""Analytic and damaged meshes, and slow reference distances to meshes."""

import numpy as np
import trimesh


def box_distance(points, half):
    """Signed distance (N,) of an axis-aligned box with half extents (3,) around the origin."""
    q = np.abs(points) - half
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(1), 0)


def with_faces(mesh, faces):
    """Create an unprocessed mesh with the vertices of another mesh and the given faces."""
    return trimesh.Trimesh(np.array(mesh.vertices), faces, process=False)


def torus(major_sections=64, minor_sections=32, tube=0.25):
    """Closed torus with radius 0.6 around the z axis."""
    return trimesh.creation.torus(0.6, tube, major_sections=major_sections, minor_sections=minor_sections)


def flipped_torus(share, seed=0):
    """Torus in which a random share of the faces is reversed."""
    mesh = torus()
    faces = np.array(mesh.faces)
    chosen = np.random.default_rng(seed).random(len(faces)) < share
    faces[chosen] = faces[chosen][:, ::-1]
    return with_faces(mesh, faces)


def triangle_soup(seed, faces=40):
    """Random triangles: intersecting, open, some slivers, some degenerate, some partly outside the box."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-0.9, 0.9, (faces, 1, 3)) + rng.normal(scale=0.3, size=(faces, 3, 3))
    corners[:4, 2] = corners[:4, :2].mean(1) + 1e-9
    corners[4, 1] = corners[4, 0]
    return trimesh.Trimesh(corners.reshape(-1, 3), np.arange(3 * faces).reshape(-1, 3), process=False)


MESHES = {
    "icosphere": lambda: trimesh.creation.icosphere(2, radius=0.7),
    "box": lambda: trimesh.creation.box((1.0, 0.6, 1.3)),
    "torus": lambda: torus(24, 12, tube=0.2),
    "soup": lambda: triangle_soup(0),
    "shared vertices": lambda: trimesh.Trimesh(
        np.random.default_rng(1).uniform(-1, 1, (9, 3)), np.random.default_rng(2).integers(0, 9, (30, 3)), process=False
    ),
}
"""Functions that build meshes, from clean to arbitrary."""


def brute_force_distance(mesh, points):
    """Unsigned distance (N,) in O(points x faces), numpy only.

    The distance to each triangle is the distance to its plane where the projection lies inside, else the smallest
    distance to its three edges.
    """
    best = np.full(len(points), np.inf)
    for triangle in np.asarray(mesh.triangles):
        for start, end in zip(triangle, np.roll(triangle, -1, axis=0), strict=True):
            edge = end - start
            t = np.clip((points - start) @ edge / max(edge @ edge, 1e-300), 0, 1)
            best = np.minimum(best, np.linalg.norm(points - start - t[:, None] * edge, axis=1))
        normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
        if np.linalg.norm(normal) > 1e-14:
            normal /= np.linalg.norm(normal)
            height = (points - triangle[0]) @ normal
            foot = points - height[:, None] * normal
            ends = zip(triangle, np.roll(triangle, -1, axis=0), strict=True)
            sides = [np.cross(end - start, foot - start) @ normal for start, end in ends]
            best = np.where(np.min(sides, axis=0) >= 0, np.minimum(best, np.abs(height)), best)
    return best


def vertex_positions(index, resolution):
    """Positions (N, 3) in [-1, 1]^3 of lattice vertices (N,), written out independently of `latentsdf`."""
    return np.stack(np.unravel_index(index, (resolution + 1,) * 3), axis=1) * (2 / resolution) - 1.0
