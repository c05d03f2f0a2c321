"""FAISS indices of codes, by kind: construction, calibration of the search width, removal of codes.

Without FAISS, an index of kind flat is a `FlatIndex`, with the same results.

Each index stores codes under integers chosen by the caller (`add_with_ids`), which searches return.
"""

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from latentsdf.latent.flat_index import FlatIndex
from latentsdf.utils.errors import ConfigError, MissingExtraError

Kind = Literal["flat", "ivf", "hnsw", "pq"]

MIN_CODES: dict[Kind, int] = {"flat": 1, "ivf": 1_000, "hnsw": 1, "pq": 10_000}
"""Minimum number of codes for training each kind of index."""
SHORTLIST = 8
"""An ivf search finds this many times k candidates by their compressed codes and re-ranks them by exact distance."""
_RECALL = 0.97  # target of the calibration; the margin above 0.95 allows for the small number of queries
_CALIBRATION_QUERIES = 200
_TRAINING_CODES = 64  # per cell; more codes take longer without better cells


def build_index(
    codes: Float[NDArray[np.float32], "T L"],
    kind: Kind,
    *,
    inner_product: bool,
    numbers: Sequence[int] | None = None,
) -> Any:
    """Build an index of codes.

    Args:
        codes: Codes (T, L), float32 and contiguous.
        kind: Kind of index.
        inner_product: Measure similarity by inner products instead of squared Euclidean distances.
        numbers: Distinct numbers (T,) of the codes; 0 to T - 1 by default.

    Returns:
        A trained and calibrated FAISS index, or a `FlatIndex`.

    Raises:
        ConfigError: There are too few codes for the kind, or their length is odd for pq.
        MissingExtraError: FAISS is not installed, and the kind is not flat.
    """
    count, dim = codes.shape
    under = np.arange(count) if numbers is None else np.asarray(numbers, dtype=np.int64)
    if count < MIN_CODES[kind] or (kind == "pq" and dim % 2):
        wanted = f"{MIN_CODES[kind]:,} codes" + (" of even length" if kind == "pq" else "")
        raise ConfigError(f"kind '{kind}' needs at least {wanted}, got {count:,} of length {dim}; use flat")
    if kind == "flat" and not is_installed():
        flat = FlatIndex(dim, inner_product=inner_product)
        flat.add_with_ids(codes, under)
        return flat
    lib = faiss()
    measure = lib.METRIC_INNER_PRODUCT if inner_product else lib.METRIC_L2
    index = {"flat": _flat, "ivf": _ivf, "hnsw": _hnsw, "pq": _pq}[kind](codes, measure)
    index.add_with_ids(codes, under)
    if kind == "ivf":
        cells = lib.extract_index_ivf(index)
        _calibrate(index, codes, measure, lambda width: setattr(cells, "nprobe", width), 1, cells.nlist)
    if kind == "hnsw":
        graph = lib.downcast_index(index.index).hnsw
        _calibrate(index, codes, measure, lambda width: setattr(graph, "efSearch", width), 16, 4096)
    return index


def remove_codes(index: Any, kind: Kind, numbers: Int[NDArray[np.int64], " M"]) -> None:
    """Remove codes from an index.

    Args:
        index: The index.
        kind: Kind of the index.
        numbers: Numbers (M,) of the codes.

    Raises:
        ConfigError: An hnsw graph cannot remove codes.
    """
    if kind == "hnsw":
        raise ConfigError("codes cannot be removed from an hnsw index; rebuild it without them, or use ivf")
    if kind != "ivf":
        index.remove_ids(numbers)
        return
    # FAISS cannot remove codes from an index that re-ranks; refilling the trained cells takes seconds per million.
    lib = faiss()
    codes = lib.downcast_index(index.index).refine_index.reconstruct_n(0, index.ntotal)
    stored = lib.vector_to_array(index.id_map)
    kept = ~np.isin(stored, numbers)
    index.reset()
    index.add_with_ids(codes[kept], stored[kept])


def to_search_device(index: Any, kind: Kind) -> Any:
    """Return a copy of the index on the first GPU if FAISS supports this, otherwise the index itself."""
    if isinstance(index, FlatIndex):
        return index
    lib = faiss()
    if kind in ("ivf", "hnsw") or not hasattr(lib, "StandardGpuResources") or lib.get_num_gpus() == 0:
        return index
    return lib.index_cpu_to_gpu(lib.StandardGpuResources(), 0, index)


def faiss() -> ModuleType:
    """Import FAISS.

    Raises:
        MissingExtraError: FAISS is not installed; the message names the extra that provides it.
    """
    try:
        import faiss as module
    except ImportError as error:
        raise MissingExtraError(
            "retrieval by an index of kind ivf, hnsw or pq needs FAISS: pip install 'latentsdf[cpu]' (or "
            "'latentsdf[gpu]' on Linux with CUDA); kind flat, which is exact, does not"
        ) from error
    found: ModuleType = module
    return found


def is_installed() -> bool:
    """Return True if FAISS can be imported."""
    try:
        faiss()
    except MissingExtraError:
        return False
    return True


def _flat(codes: NDArray[np.float32], measure: int) -> Any:
    return faiss().IndexIDMap2(faiss().IndexFlat(codes.shape[1], measure))


def _ivf(codes: NDArray[np.float32], measure: int) -> Any:
    """Inverted file with 4-bit product quantization (PQ fast scan) and exact re-ranking of a shortlist.

    Trained codes fill most of their dimensions, so the neighbors of a query are spread over many cells and a search
    visits a large part of them. Scanning 4-bit codes is several times faster than scanning floats, and few large cells
    cost less than many small ones.
    """
    lib = faiss()
    count, dim = codes.shape
    cells = _cells(count)
    compressed = lib.index_factory(dim, f"IVF{cells},PQ{dim}x4fs", measure)
    compressed.train(_sample(codes, max(_TRAINING_CODES * cells, 10_000)))
    ranked = lib.IndexRefineFlat(compressed)
    ranked.k_factor = SHORTLIST
    return lib.IndexIDMap2(ranked)


def _hnsw(codes: NDArray[np.float32], measure: int) -> Any:
    graph = faiss().IndexHNSWFlat(codes.shape[1], 32, measure)
    graph.hnsw.efConstruction = 40
    return faiss().IndexIDMap2(graph)


def _pq(codes: NDArray[np.float32], measure: int) -> Any:
    count, dim = codes.shape
    cells = _cells(count)
    # "np" skips the ordering of centroids for polysemous filtering, which is not used and takes half a minute.
    index = faiss().index_factory(dim, f"IVF{cells},PQ{dim // 2}np", measure)
    index.train(codes)
    index.nprobe = max(1, cells // 32)
    return index


def _cells(count: int) -> int:
    return max(1, min(int(math.sqrt(count)), count // _TRAINING_CODES))


def _sample(codes: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if len(codes) <= count:
        return codes
    return codes[np.sort(np.random.default_rng(0).choice(len(codes), count, replace=False))]


def _calibrate(
    index: Any,
    codes: NDArray[np.float32],
    measure: int,
    set_width: Callable[[int], None],
    min_width: int,
    max_width: int,
) -> None:
    """Widen the search until recall@10 reaches 0.97 on queries from the distribution of the codes.

    Codes that are in the index would be found too easily. For Gaussian codes a, b with mean m, the query
    m + (a + b - 2 m) / sqrt(2) has the same distribution.
    """
    mean = codes.mean(0)
    one, other = np.random.default_rng(0).choice(len(codes), (2, _CALIBRATION_QUERIES))
    queries = mean + (codes[one] + codes[other] - 2 * mean) / np.sqrt(2, dtype=np.float32)
    k = min(10, len(codes))
    _, truth = faiss().knn(queries, codes, k, metric=measure)
    width = min_width
    while True:
        set_width(width)
        _, found = index.search(queries, k)
        shared = [len(set(a) & set(b)) for a, b in zip(truth, found, strict=True)]
        if width >= max_width or np.mean(shared) >= _RECALL * k:
            return
        width = min(max_width, math.ceil(1.25 * width))
