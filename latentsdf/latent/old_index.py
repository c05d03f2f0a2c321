"""Changes of a retrieval index that earlier versions saved in the folder of a space.

They wrote `index.faiss` and `index.json`, or without FAISS `index.npz`, with all codes; `index_cosine` for the cosine
metric. Only exact indices are read, and without FAISS, which trusts its files.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from latentsdf.latent import faiss_indices
from latentsdf.latent.index_changes import Changes
from latentsdf.latent.retrieval import Metric
from latentsdf.utils.console import show_note
from latentsdf.utils.json_files import parse_object
from latentsdf.utils.numpy_files import parse_npz
from latentsdf.utils.shape_ids import is_id, is_key

_HEAD = 33  # bytes of the head of a FAISS index behind its four letters
_FLAT = (b"IxFI", b"IxF2")


def read_changes(folder: Path, metric: Metric, space: str, ids: Sequence[str], dim: int) -> Changes:
    """Read the added and removed codes of a saved index.

    Args:
        folder: Folder of the space.
        metric: Metric of the index.
        space: Fingerprint of the space; an index of another one has no changes.
        ids: Ids of the training shapes.
        dim: Length of the codes.

    Returns:
        The changes. Codes that cannot be read are named on the console; the files are left as they are.
    """
    stem = folder / ("index" if metric == "l2" else f"index_{metric}")
    arrays, faiss_file, listing = (stem.with_name(stem.name + suffix) for suffix in (".npz", ".faiss", ".json"))
    try:
        codes: NDArray[np.float32] | None = None
        if arrays.is_file():
            content = parse_npz(arrays.read_bytes(), ("about", "codes"))
            about, codes = parse_object(str(content["about"])), content["codes"]
        elif listing.is_file():
            about = parse_object(listing.read_bytes())
        else:
            return Changes()
        if about.get("space") != space:
            return Changes()
        names = _strings(about.get("ids"))
        kind: Any = about.get("kind")
        if kind not in get_args(faiss_indices.Kind):
            raise ValueError(f"unknown kind {kind!r:.40}")
        removed = tuple(name for name in ids if name not in set(names))
        added = [name for name in names if name not in set(ids)]
        if not added:
            return Changes(removed=removed, kind=kind)
        if codes is None and kind == "flat":
            codes = _flat_codes(faiss_file.read_bytes(), about.get("numbers"))
        if codes is None:
            shown = ", ".join(added[:3]) + (", ..." if len(added) > 3 else "")
            show_note("not searched", f"{shown}: added to {faiss_file} by an earlier version; add them again")
            return Changes(removed=removed, kind=kind)
        if codes.shape != (len(names), dim) or codes.dtype != np.float32 or not np.isfinite(codes).all():
            raise ValueError(f"expected {len(names)} finite codes of length {dim}")
        by_name = dict(zip(names, codes, strict=True))
        return Changes({name: by_name[name] for name in added}, removed, kind)
    except (ValueError, OSError, struct.error) as error:
        show_note("index rebuilt", f"{stem}.*, written by an earlier version, is damaged ({error!s:.120})")
        return Changes()


def _strings(names: Any) -> list[str]:
    if not isinstance(names, list) or not all(is_id(name) or is_key(name) for name in names):
        raise ValueError("expected a list of ids")
    return names


def _flat_codes(data: bytes, numbers: Any) -> NDArray[np.float32]:
    """Codes (T, L) of an IndexIDMap2 of an IndexFlat, in the order of their numbers in the listing."""
    (dim, count), inner = struct.unpack_from("<iq", data, 4), 4 + _HEAD
    if data[:4] != b"IxM2" or data[inner : inner + 4] not in _FLAT or dim < 1 or count < 0:
        raise ValueError("not an exact index of FAISS")
    start = inner + 4 + _HEAD + 8
    end = start + 4 * dim * count
    if len(data) != end + 8 + 8 * count:
        raise ValueError(f"expected {end + 8 + 8 * count:,} bytes, got {len(data):,}")
    codes = np.frombuffer(data, "<f4", dim * count, start).reshape(count, dim).astype(np.float32)
    stored = np.frombuffer(data, "<i8", count, end + 8)
    rows = {int(number): row for row, number in enumerate(stored)}
    if not isinstance(numbers, list) or len(numbers) != count or not all(number in rows for number in numbers):
        raise ValueError("other numbers than in its listing")
    return codes[[rows[number] for number in numbers]]
