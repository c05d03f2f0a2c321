"""Fewer faces for the same surface: edges collapse where that moves it least (Garland and Heckbert 1997)."""

import fast_simplification
import numpy as np
import trimesh

from latentsdf.utils.errors import ConfigError

FEWEST_FACES = 4


def simplify(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    """The mesh with about so many faces, or as it is where it has no more.

    Thin parts can close or meet. Raises ConfigError for fewer faces than enclose a volume.
    """
    if faces < FEWEST_FACES:
        raise ConfigError(f"a surface has at least {FEWEST_FACES} faces, got {faces}")
    if len(mesh.faces) <= faces:
        return mesh
    vertices, kept = fast_simplification.simplify(
        np.array(mesh.vertices, dtype=np.float64), np.array(mesh.faces, dtype=np.int64), target_count=faces
    )
    return trimesh.Trimesh(vertices, kept, process=False)
