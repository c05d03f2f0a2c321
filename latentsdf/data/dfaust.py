"""Reader of D-FAUST registrations (Bogo et al. 2017): mesh sequences in one HDF5 file, one mesh per frame.

Layout of the released files registrations_f.hdf5 and registrations_m.hdf5:

| dataset | shape | content |
|---|---|---|
| `faces` | (F, 3) | triangles, shared by all frames |
| `<subject>_<motion>` | (V, 3, T) | vertices in meters of T frames, for example `50002_jumping_jacks` |

The id of a frame is the name of its sequence and its number from 0 with five digits: 50002_jumping_jacks_00010.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import trimesh

from latentsdf.data.hdf5_limits import plain_dataset, require_own_object
from latentsdf.geometry.mesh import require_usable_mesh
from latentsdf.utils.errors import ConfigError, MeshError
from latentsdf.utils.shape_ids import RULE, is_id

SUFFIXES = (".hdf5", ".h5")
"""Suffixes by which a file is recognized as D-FAUST registrations."""

_FACES = "faces"


def find_frames(path: Path, step: int) -> list[str]:
    """Return the ids of every `step`-th frame of every sequence, sorted, without reading vertices.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The step is below 1.
        MeshError: The file has another layout.
    """
    if step < 1:
        raise ConfigError(f"the frame step must be at least 1, got {step}")
    with _open_registrations(path) as file:
        sequences = sorted(name for name in file if name != _FACES)
        for name in sequences:
            if not is_id(name):
                raise MeshError(f"{path.name}: {name!r} is not a valid name of a sequence; expected an id {RULE}")
        return [f"{name}_{frame:05d}" for name in sequences for frame in range(0, file[name].shape[2], step)]


def load_frame(path: Path, id: str) -> trimesh.Trimesh:
    """Read the mesh of one frame.

    Args:
        path: The HDF5 file.
        id: Id of the frame, as from `find_frames`.

    Returns:
        The mesh, in meters.

    Raises:
        FileNotFoundError: There is no such file.
        MeshError: The file has another layout or is damaged, has no such frame, or the frame is not a usable mesh.
    """
    sequence, _, number = id.rpartition("_")
    with _open_registrations(path) as file:
        count = file[sequence].shape[2] if sequence in file and sequence != _FACES else 0
        if not number.isdecimal() or int(number) >= count:
            raise MeshError(f"{path.name}: has no frame '{id}'")
        try:
            vertices = np.asarray(file[sequence][:, :, int(number)], dtype=np.float64)
            faces = np.asarray(file[_FACES], dtype=np.int64)
        except OSError as error:
            raise MeshError(f"{path.name}: {id} cannot be read, the file is damaged or truncated ({error})") from error
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    require_usable_mesh(f"{path.name}: {id}", mesh)
    return mesh


@contextmanager
def _open_registrations(path: Path) -> Iterator[h5py.File]:
    """Open the file and check its layout."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of registrations")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise MeshError(f"{path.name}: is not an HDF5 file, or it is truncated ({error})") from error
    with file:
        _require_layout(path.name, file)
        yield file


def _require_layout(name: str, file: h5py.File) -> None:
    if "format" in file.attrs:
        raise MeshError(f"{name}: contains signed distance samples and no meshes; read it with latentsdf import")
    expected = "D-FAUST registrations are 'faces' (F, 3) and sequences (V, 3, T) such as '50002_jumping_jacks'"
    for key in file:
        try:
            require_own_object(file, key)
            if isinstance(file[key], h5py.Dataset):
                plain_dataset(file, key)
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise MeshError(f"{name}: {error}; {expected}") from error
    shapes = {key: getattr(file[key], "shape", None) for key in file}
    faces = shapes.pop(_FACES, None)
    if faces is None or len(faces) != 2 or faces[1] != 3:
        raise MeshError(f"{name}: {expected}; this file has {', '.join(file) or 'nothing'}")
    if not shapes:
        raise MeshError(f"{name}: {expected}; this file has no sequence")
    for key, shape in shapes.items():
        if shape is None or len(shape) != 3 or shape[1] != 3:
            raise MeshError(f"{name}: {expected}; here '{key}' is {'a group' if shape is None else shape}")
