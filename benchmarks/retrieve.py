"""Retrieval among many codes from the Gaussian of a space: each kind of index against brute force in numpy.

python benchmarks/retrieve.py [--space checkpoints/demo] [--counts 1000 10000 100000 1000000] [--queries 100]

Queries are timed one by one, as in interactive use, and in one batch, as for a data set; in a batch, numpy and
flat use matrix products. Each kind alternates with numpy and flat, 20 queries each, so that other load on the
machine affects all. Without --space the Gaussian has 32 directions with variances 1/i, similar to trained spaces.
Recall is the share of the 10 nearest codes found; that of flat must be 1.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from latentsdf.latent.retrieval import CodeIndex

Search = Callable[[np.ndarray], np.ndarray]
TURNS = 5


def draw(space: str | None, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random codes (count, L)."""
    if space is None:
        return (rng.normal(size=(count, 32)) / np.sqrt(np.arange(1, 33))).astype(np.float32)
    import torch

    from latentsdf.latent.prior import CodePrior
    from latentsdf.training.checkpoint import load

    prior = CodePrior.fit(load(space).codes)
    normal = torch.from_numpy(rng.normal(size=(count, len(prior.mean))).astype(np.float32))
    return prior.decode(normal).numpy()


def brute(codes: np.ndarray) -> Search:
    """Brute-force search in numpy: queries (Q, L) to the numbers (Q, 10) of the nearest codes."""
    norms = np.square(codes).sum(1)

    def search(queries: np.ndarray) -> np.ndarray:
        squared = norms - 2 * (queries @ codes.T)
        nearest = np.argpartition(squared, 9)[:, :10]
        return np.take_along_axis(nearest, np.take_along_axis(squared, nearest, 1).argsort(1), 1)

    return search


def seconds(search: Search, queries: np.ndarray) -> float:
    """Seconds of one search."""
    started = time.perf_counter()
    search(queries)
    return time.perf_counter() - started


def compared(searches: list[Search], queries: np.ndarray) -> list[tuple[float, float]]:
    """Median milliseconds per query of each search, one by one and all at once."""
    singly: list[list[float]] = [[] for _ in searches]
    at_once: list[list[float]] = [[] for _ in searches]
    for some in np.array_split(queries, TURNS):
        for search, one, many in zip(searches, singly, at_once, strict=True):
            one += [seconds(search, query[None]) for query in some]
            many.append(seconds(search, queries))
    return [
        (1e3 * statistics.median(one), 1e3 * statistics.median(many) / len(queries))
        for one, many in zip(singly, at_once, strict=True)
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["ivf", "hnsw", "pq"])
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    sys.stdout.write("                              one by one                     all at once\n")
    sys.stdout.write(
        "codes      index   build s   ms/query  flat/it  numpy/it    ms/query  flat/it  numpy/it   recall@10\n"
    )
    for count in arguments.counts:
        codes, queries = draw(arguments.space, count, rng), draw(arguments.space, arguments.queries, rng)
        plain = brute(codes)
        truth = plain(queries)

        def built(kind: str, codes: np.ndarray = codes) -> tuple[CodeIndex, float]:
            started = time.perf_counter()
            index = CodeIndex(codes, [str(i) for i in range(len(codes))], kind=kind)  # type: ignore[arg-type]
            return index, time.perf_counter() - started

        flat, flat_took = built("flat")
        for kind in ("flat", *arguments.kinds):
            if kind == "pq" and count < 10_000:
                continue
            index, took = (flat, flat_took) if kind == "flat" else built(kind)
            searches = [lambda queries, index=index: index.search(queries, 10)[0] for index in (flat, index)]
            exact, own, slow = compared([*searches, plain], queries)
            recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, searches[1](queries), strict=True)])
            columns = "  ".join(
                f"{own[way]:10.3f} {exact[way] / own[way]:7.1f}x {slow[way] / own[way]:8.1f}x" for way in (0, 1)
            )
            sys.stdout.write(f"{count:<10,d} {kind:5s} {took:9.1f} {columns}   {recall:9.3f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
