"""Mesh simplification by edge collapse with quadric error metrics (Garland and Heckbert 1997)."""

import fast_simplification
import numpy as np
import trimesh

from latentsdf.utils.errors import ConfigError

MIN_FACES = 4
"""Faces of a tetrahedron, the closed surface with the fewest faces."""


def simplify(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """Reduce a mesh to about `faces` faces; a mesh with no more faces is returned unchanged.

    Thin walls and gaps can collapse, so the result may not be watertight.

    Raises:
        ConfigError: `faces` is less than 4.
    """
    if faces < MIN_FACES:
        raise ConfigError(f"a surface has at least {MIN_FACES} faces, got {faces}")
    if len(mesh.faces) <= faces:
        return mesh
    vertices, triangles = fast_simplification.simplify(
        np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64), target_count=faces
    )
    return trimesh.Trimesh(vertices, triangles, process=False)
