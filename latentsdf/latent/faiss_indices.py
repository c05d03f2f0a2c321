"""FAISS indices by kind: how each is built, how widely it is searched, how codes come and go.

Every index here takes numbers of its own for codes (`add_with_ids`) and answers with them.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from latentsdf.utils.errors import ConfigError, MissingExtraError

Kind = Literal["flat", "ivf", "hnsw", "pq"]

LEAST_CODES: dict[Kind, int] = {"flat": 1, "ivf": 1_000, "hnsw": 1, "pq": 10_000}
"""Fewer are too few for what a kind learns of their distribution."""
SHORTLIST = 8
"""An ivf index finds as many times k candidates among compressed codes, and the k nearest of them exactly."""
_RECALL = 0.97  # measured on few queries, so that all of them together find 0.95
_CALIBRATION_QUERIES = 200
_TRAINING_CODES = 64  # a cell; more take longer and place the cells no better


def build(codes: Float[NDArray[np.float32], "T L"], kind: Kind, *, inner_product: bool) -> Any:
    """An index of the codes under the numbers 0 to T - 1.

    Raises ConfigError for codes that the kind cannot take, MissingExtraError without FAISS.
    """
    lib = faiss()
    count, dim = codes.shape
    if count < LEAST_CODES[kind] or (kind == "pq" and dim % 2):
        wanted = f"{LEAST_CODES[kind]:,} codes" + (" of even length" if kind == "pq" else "")
        raise ConfigError(f"kind '{kind}' needs at least {wanted}, got {count:,} of length {dim}; use flat")
    measure = lib.METRIC_INNER_PRODUCT if inner_product else lib.METRIC_L2
    index = {"flat": _flat, "ivf": _ivf, "hnsw": _hnsw, "pq": _pq}[kind](codes, measure)
    index.add_with_ids(codes, np.arange(count))
    if kind == "ivf":
        cells = lib.extract_index_ivf(index)
        _calibrate(index, codes, measure, lambda width: setattr(cells, "nprobe", width), 1, cells.nlist)
    if kind == "hnsw":
        graph = lib.downcast_index(index.index).hnsw
        _calibrate(index, codes, measure, lambda width: setattr(graph, "efSearch", width), 16, 4096)
    return index


def forget(index: Any, kind: Kind, numbers: Int[NDArray[np.int64], " M"]) -> None:
    """Take codes out. Raises ConfigError for a graph of neighbours, which cannot."""
    if kind == "hnsw":
        raise ConfigError("an hnsw index cannot forget codes; build it anew without them, or use ivf")
    lib = faiss()
    # An ivf index that an older version saved has cells of whole codes and no shortlist.
    if kind != "ivf" or not isinstance(index, lib.IndexIDMap2):
        index.remove_ids(numbers)
        return
    # FAISS has no removal where codes are re-ranked; filling the trained cells again takes seconds a million.
    held, codes = held_codes(index, kind)
    kept = ~np.isin(held, numbers)
    index.reset()
    index.add_with_ids(codes[kept], held[kept])


def held_codes(index: Any, kind: Kind) -> tuple[Int[NDArray[np.int64], " T"], Float[NDArray[np.float32], "T L"]]:
    """Numbers and codes of an index. Raises ConfigError where it does not keep them whole."""
    lib = faiss()
    if kind == "pq" or not isinstance(index, lib.IndexIDMap2):
        raise ConfigError(f"this {kind} index keeps no whole codes; delete its files, and it is built again")
    inner = lib.downcast_index(index.index)
    codes = (inner.refine_index if kind == "ivf" else inner).reconstruct_n(0, index.ntotal)
    return lib.vector_to_array(index.id_map), codes


def for_search(index: Any, kind: Kind) -> Any:
    """The index on a GPU, where there is one and the kind has a form for it."""
    lib = faiss()
    if kind in ("ivf", "hnsw") or not hasattr(lib, "StandardGpuResources") or lib.get_num_gpus() == 0:
        return index
    return lib.index_cpu_to_gpu(lib.StandardGpuResources(), 0, index)


def faiss() -> ModuleType:
    """The library, imported on first use."""
    try:
        import faiss as module
    except ImportError as error:
        raise MissingExtraError(
            "retrieval needs FAISS: pip install 'latentsdf[cpu]' (or 'latentsdf[gpu]' on Linux with CUDA)"
        ) from error
    found: ModuleType = module
    return found


def _flat(codes: NDArray[np.float32], measure: int) -> Any:
    return faiss().IndexIDMap2(faiss().IndexFlat(codes.shape[1], measure))


def _ivf(codes: NDArray[np.float32], measure: int) -> Any:
    """Cells of codes at 4 bits a value, whose distances are sums of looked-up bytes, many codes an instruction.

    Trained codes fill most of their dimensions, so neighbours lie in many cells and a search must visit a good part of
    them; scanning bytes is several times quicker than scanning floats, and few large cells cost less than many small.
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
    # np: no search for an order of centroids that only polysemous filtering would use, which takes half a minute.
    index = faiss().index_factory(dim, f"IVF{cells},PQ{dim // 2}np", measure)
    index.train(codes)
    index.nprobe = max(1, cells // 32)
    return index


def _cells(count: int) -> int:
    return max(1, min(int(math.sqrt(count)), count // _TRAINING_CODES))


def _sample(codes: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    if len(codes) <= most:
        return codes
    return codes[np.sort(np.random.default_rng(0).choice(len(codes), most, replace=False))]


def _calibrate(
    index: Any, codes: NDArray[np.float32], measure: int, set_width: Callable[[int], None], least: int, most: int
) -> None:
    """Widen the search until recall@10 is reached on new codes of the same distribution.

    Codes of the index would be found too easily. Where codes are Gaussian, the mean of two times the root of two about
    their mean is one more of them.
    """
    mean = codes.mean(0)
    one, other = np.random.default_rng(0).choice(len(codes), (2, _CALIBRATION_QUERIES))
    queries = mean + (codes[one] + codes[other] - 2 * mean) / np.sqrt(2, dtype=np.float32)
    k = min(10, len(codes))
    _, truth = faiss().knn(queries, codes, k, metric=measure)
    width = least
    while True:
        set_width(width)
        _, found = index.search(queries, k)
        shared = [len(set(a) & set(b)) for a, b in zip(truth, found, strict=True)]
        if width >= most or np.mean(shared) >= _RECALL * k:
            return
        width = min(most, math.ceil(1.25 * width))
