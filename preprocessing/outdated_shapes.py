"""Stored shapes that a resumed run samples again: their sources have changed, or they have known faults."""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from latentsdf.data.sampling_faults import known_fault
from latentsdf.data.shape_records import shape_seed
from latentsdf.data.store import SampleStore
from latentsdf.utils.console import track
from latentsdf.utils.errors import LatentSDFError, StoreError
from preprocessing.sources import Source

_PART = 32
"""Number of shapes that a thread compares at a time."""


def find_outdated(sources: Sequence[Source], store: SampleStore, seed: int, *, renew: bool = False) -> dict[str, str]:
    """Compare the stored shapes with their sources, by the SHA-256 of the source.

    Args:
        sources: The shapes of the run; those that the store lacks are ignored.
        store: The sample store.
        seed: Seed of the run.
        renew: Include shapes that an earlier version sampled with known faults.

    Returns:
        For each outdated or damaged shape, by key, the reason why it has to be sampled again.

    Raises:
        StoreError: Some shapes were sampled with another seed. All shapes of a store must have the same one.
    """
    stored = set(store.keys())
    present = [source for source in sources if source.key in stored]
    if not present:
        return {}
    with ThreadPoolExecutor() as threads, track("checking", total=len(present), unit="shape") as advance:
        reasons: dict[str, str] = {}
        other_seed = []
        # In parts, because a task of the pool takes more time and memory than a shape whose source is small.
        parts = [present[start : start + _PART] for start in range(0, len(present), _PART)]
        found = threads.map(lambda part: [_compare(one, store, seed) for one in part], parts)
        compared = itertools.chain.from_iterable(found)
        for source, (reason, same_seed) in zip(present, compared, strict=True):
            if reason:
                reasons[source.key] = reason
            elif not same_seed:
                other_seed.append(source.key)
            elif renew and (fault := known_fault(store.info(source.key))):
                reasons[source.key] = f"{source.key}: sampled by an earlier version, {fault}"
            advance()
    if other_seed:
        raise StoreError(
            f"{store.path}: expected shapes sampled with --seed {seed}, found {len(other_seed)} with a different seed, "
            f"for example {other_seed[0]}; pass the original seed, --overwrite to sample them again, or another store"
        )
    return reasons


def _compare(source: Source, store: SampleStore, seed: int) -> tuple[str, bool]:
    """Return the reason to sample a shape again, or "", and whether it was sampled with this seed."""
    try:
        digest, stored_seed = store.provenance(source.key)
    except StoreError:
        return f"{source.key}: the stored shape is damaged", True
    try:
        if source.digest() != digest:
            return f"{source.key}: {source.name} has changed since the shape was sampled", True
    except (LatentSDFError, OSError) as error:
        return f"{source.key}: {source.name} can no longer be read ({error})", True
    return "", stored_seed == shape_seed(source.key, seed)
