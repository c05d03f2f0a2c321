"""The unit cube as arrays, and reading of it from the contents of a file."""

from pathlib import Path

import numpy as np
import trimesh

from latentsdf.geometry import mesh as meshes

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
TRIANGLES = QUADS[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)


def load_bytes(folder: Path, name: str, contents: bytes | str) -> trimesh.Trimesh:
    """Write a file and load it as a mesh."""
    path = folder / name
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    return meshes.load(path)


def require_cube(mesh: trimesh.Trimesh, size: float = 1.0) -> None:
    """Assert that a mesh is a closed cube with edges of the given length."""
    cleaned, _ = meshes.clean(mesh)
    assert cleaned.is_watertight and len(cleaned.vertices) == 8
    np.testing.assert_allclose((cleaned.volume, cleaned.area), (size**3, 6 * size**2), rtol=1e-4)
