"""D-FAUST registrations: one HDF5 file of mesh sequences -> one mesh a frame.

Layout of the released registrations_f.hdf5 and registrations_m.hdf5: `faces` (F, 3), and for each sequence a dataset of
vertices (V, 3, T) in metres, named subject_motion, for example 50002_jumping_jacks. The id of a frame is its sequence
and its number from 0: 50002_jumping_jacks_00010.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import trimesh

from latentsdf.geometry.mesh import require_usable_mesh
from latentsdf.utils.errors import ConfigError, MeshError

SUFFIXES = (".hdf5", ".h5")

_FACES = "faces"


def frames(path: Path, step: int) -> list[str]:
    """Ids of every `step`-th frame of every sequence, sorted; reads no vertices.

    Raises FileNotFoundError, ConfigError for a step below 1, MeshError when the file has another layout.
    """
    if step < 1:
        raise ConfigError(f"the frame step must be at least 1, got {step}")
    with _opened(path) as file:
        sequences = sorted(name for name in file if name != _FACES)
        return [f"{name}_{frame:05d}" for name in sequences for frame in range(0, file[name].shape[2], step)]


def load_frame(path: Path, id: str) -> trimesh.Trimesh:
    """The mesh of one frame; reads this frame only. Raises FileNotFoundError or MeshError."""
    sequence, _, number = id.rpartition("_")
    with _opened(path) as file:
        count = file[sequence].shape[2] if sequence in file and sequence != _FACES else 0
        if not number.isdecimal() or int(number) >= count:
            raise MeshError(f"{path.name}: has no frame '{id}'")
        try:
            vertices = np.asarray(file[sequence][:, :, int(number)], dtype=np.float64)
            faces = np.asarray(file[_FACES], dtype=np.int64)
        except OSError as error:
            raise MeshError(f"{path.name}: {id} cannot be read, the file is damaged or cut off ({error})") from error
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    require_usable_mesh(f"{path.name}: {id}", mesh)
    return mesh


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, once its layout is known to be that of D-FAUST."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of registrations")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise MeshError(f"{path.name}: is no HDF5 file, or it is cut off ({error})") from error
    with file:
        _require_layout(path.name, file)
        yield file


def _require_layout(name: str, file: h5py.File) -> None:
    if "format" in file.attrs:
        raise MeshError(f"{name}: holds signed distance samples and no meshes; read it with latentsdf import")
    expected = "D-FAUST registrations are 'faces' (F, 3) and sequences (V, 3, T) such as '50002_jumping_jacks'"
    shapes = {key: getattr(file[key], "shape", None) for key in file}
    faces = shapes.pop(_FACES, None)
    if faces is None or len(faces) != 2 or faces[1] != 3:
        raise MeshError(f"{name}: {expected}; this file holds {', '.join(file) or 'nothing'}")
    if not shapes:
        raise MeshError(f"{name}: {expected}; this file holds no sequence")
    for key, shape in shapes.items():
        if shape is None or len(shape) != 3 or shape[1] != 3:
            raise MeshError(f"{name}: {expected}; here '{key}' is {'a group' if shape is None else shape}")
