"""Differences between the retrieval index of a space and its training codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from latentsdf.latent.retrieval import Kind


@dataclass(frozen=True)
class Changes:
    """Codes that were added to an index and ids that were removed from it."""

    added: Mapping[str, Float[NDArray[np.float32], " L"]] = field(default_factory=dict)
    """Added codes by id."""
    removed: tuple[str, ...] = ()
    """Ids that were removed, of training shapes and of codes that had been added."""
    kind: Kind = "auto"
    """Kind of the index; without FAISS, the index is flat nevertheless."""
