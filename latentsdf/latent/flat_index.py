"""Exact nearest-neighbor search in NumPy, for machines without FAISS.

Has the interface of the FAISS indices that `latent.retrieval` uses, and the results of a flat one.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

_CHUNK_VALUES = 1 << 24  # differences held at a time


class FlatIndex:
    """Codes under integer numbers, searched exhaustively.

    Args:
        dim: Length of the codes.
        inner_product: Measure similarity by inner products instead of squared Euclidean distances.
    """

    def __init__(self, dim: int, *, inner_product: bool) -> None:
        self.d, self._inner_product = dim, inner_product
        self.codes: Float[NDArray[np.float32], "T L"] = np.empty((0, dim), np.float32)
        self.numbers: Int[NDArray[np.int64], " T"] = np.empty(0, np.int64)

    @property
    def ntotal(self) -> int:
        """Number of codes."""
        return len(self.codes)

    def add_with_ids(self, codes: Float[NDArray[np.float32], "M L"], numbers: Int[NDArray[np.int64], " M"]) -> None:
        """Add codes under numbers that are not in the index."""
        self.codes = np.concatenate((self.codes, codes))
        self.numbers = np.concatenate((self.numbers, numbers))

    def remove_ids(self, numbers: Int[NDArray[np.int64], " M"]) -> None:
        """Remove the codes with these numbers."""
        kept = ~np.isin(self.numbers, numbers)
        self.codes, self.numbers = self.codes[kept], self.numbers[kept]

    def search(
        self, queries: Float[NDArray[np.float32], "Q L"], k: int
    ) -> tuple[Float[NDArray[np.float32], "Q K"], Int[NDArray[np.int64], "Q K"]]:
        """Find the k <= T best codes of each query.

        Returns:
            Squared distances in ascending order, or inner products in descending order; and the numbers of the codes.
        """
        rows = max(1, _CHUNK_VALUES // max(1, self.codes.size))
        parts = [self._search(queries[start : start + rows], k) for start in range(0, len(queries), rows)]
        values, places = (np.concatenate(part) for part in zip(*parts, strict=True))
        return values, self.numbers[places]

    def _search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Values (Q, k) and rows (Q, k) of the best codes of a few queries."""
        if self._inner_product:
            cost = -(queries @ self.codes.T)
        else:
            # Differences instead of |q|^2 - 2 q c + |c|^2, which loses the digits of small distances.
            cost = np.square(queries[:, None] - self.codes[None]).sum(-1)
        near = np.argpartition(cost, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(near, np.lexsort((near, np.take_along_axis(cost, near, axis=1))), axis=1)
        best = np.take_along_axis(cost, order, axis=1)
        return (-best if self._inner_product else best), order
