"""Retrieval among many codes: numpy brute force against each kind of index, codes drawn from a Gaussian of a space.

python benchmarks/retrieve.py [--space checkpoints/demo] [--counts 1000 10000 100000 1000000] [--queries 100]

Queries come one by one, as users' do. Without --space the Gaussian has 32 directions whose variances fall by 1/i, about
what trained spaces have. Recall is the share of the 10 nearest found; flat's must be 1.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from latentsdf.retrieve import CodeIndex


def draw(space: str | None, count: int, rng: np.random.Generator) -> np.ndarray:
    """Codes (count, L)."""
    if space is None:
        return (rng.normal(size=(count, 32)) / np.sqrt(np.arange(1, 33))).astype(np.float32)
    import torch

    from latentsdf.checkpoint import load
    from latentsdf.prior import CodePrior

    prior = CodePrior.fit(load(space).codes)
    normal = torch.from_numpy(rng.normal(size=(count, len(prior.mean))).astype(np.float32))
    return prior.decode(normal).numpy()


def timed(search: Callable[[np.ndarray], np.ndarray], queries: np.ndarray) -> tuple[float, np.ndarray]:
    """Median milliseconds a query, and the numbers found (Q, 10)."""
    seconds, found = [], []
    for query in queries:
        started = time.perf_counter()
        found.append(search(query))
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds), np.stack(found)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=["flat", "ivf", "hnsw", "pq"])
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    sys.stdout.write("codes      index   build s   ms/query   over flat   over numpy   recall@10\n")
    for count in arguments.counts:
        codes, queries = draw(arguments.space, count, rng), draw(arguments.space, arguments.queries, rng)
        norms = np.square(codes).sum(1)

        def brute(query: np.ndarray, codes: np.ndarray = codes, norms: np.ndarray = norms) -> np.ndarray:
            squared = norms - 2 * (codes @ query)
            nearest = np.argpartition(squared, 9)[:10]
            return nearest[np.argsort(squared[nearest])]

        plain, truth = timed(brute, queries)
        sys.stdout.write(f"{count:<10,d} numpy {'':9s} {plain:10.3f}\n")
        flat = 0.0
        for kind in arguments.kinds:
            if kind == "pq" and count < 10_000:
                continue
            started = time.perf_counter()
            index = CodeIndex(codes, [str(i) for i in range(count)], kind=kind)
            built = time.perf_counter() - started
            took, found = timed(lambda query, index=index: index.search(query[None], 10)[0][0], queries)
            flat = took if kind == "flat" else flat
            recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)])
            sys.stdout.write(
                f"{count:<10,d} {kind:5s} {built:9.1f} {took:10.3f} {flat / took:10.1f}x {plain / took:11.1f}x "
                f"{recall:10.3f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
