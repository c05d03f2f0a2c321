"""Checks of untrusted HDF5 files before anything in them is read.

HDF5 can refer to other files (external and soft links, external storage, virtual datasets), load filters from
libraries, and declare arrays of any size. None of these is accepted.
"""

import math

import h5py

MAX_BYTES = 1 << 34
"""Largest array that is read: 16 GiB."""
_MAX_INFLATION = 1_100  # Deflate reaches 1,032
_SMALL = 1 << 20  # bytes; arrays below this size are not compared with their storage
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}


def require_own_object(group: h5py.Group, name: str) -> None:
    """Require an object of this group instead of a link to another object or file.

    Raises:
        KeyError: There is no such object.
        ValueError: It is a link.
    """
    link, path = group.get(name, getlink=True), f"{group.name.rstrip('/')}/{name}"
    if link is None:
        raise KeyError(f"{path} is missing")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{path} is a link to another place, which is not followed")


def plain_group(group: h5py.Group, name: str) -> h5py.Group:
    """Return a group inside a group.

    Raises:
        KeyError: There is no such group.
        ValueError: It is a link, or no group.
    """
    require_own_object(group, name)
    found = group[name]
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{found.name} is not a group")
    return found


def plain_dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return a dataset of numbers whose values are in this file.

    Raises:
        KeyError: There is no such dataset.
        ValueError: It is a link, no dataset, refers to another file, has unknown filters, or declares a size that its
            storage cannot have.
    """
    require_own_object(group, name)
    found = group[name]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{found.name} is not an array")
    if found.external or found.is_virtual:
        raise ValueError(f"{found.name} refers to another file, which is not read")
    if found.dtype.kind not in "fiu":
        raise ValueError(f"{found.name} is an array of {found.dtype}, not of numbers")
    settings = found.id.get_create_plist()
    filters = {settings.get_filter(number)[0] for number in range(settings.get_nfilters())}
    if filters - _FILTERS:
        raise ValueError(f"{found.name} has an unknown compression")
    declared, stored = math.prod(found.shape) * found.dtype.itemsize, found.id.get_storage_size()
    if declared > MAX_BYTES:
        raise ValueError(f"{found.name} declares {declared:,} bytes, at most {MAX_BYTES:,} are read")
    chunk = math.prod(found.chunks) * found.dtype.itemsize if found.chunks else 0
    if chunk > max(declared, _SMALL) or declared > max(_SMALL, _MAX_INFLATION * stored):
        raise ValueError(f"{found.name} declares {declared:,} bytes, but {stored:,} are stored")
    return found
