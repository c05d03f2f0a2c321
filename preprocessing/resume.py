"""Which shapes of a run are still to be made: those the store lacks, and those whose source has changed."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from latentsdf.data.store import SampleStore
from latentsdf.utils.console import track
from latentsdf.utils.errors import LatentSDFError, StoreError
from preprocessing.shape import shape_seed
from preprocessing.sources import Source


def outdated(sources: Sequence[Source], store: SampleStore, seed: int) -> dict[str, str]:
    """Why shapes that the store holds must be made again, by key; files are compared by their SHA-256.

    Raises StoreError when some were made with another seed: one store has one seed, and the user says which.
    """
    present = [source for source in sources if source.key in store]
    if not present:
        return {}
    with ThreadPoolExecutor() as threads, track("checking", total=len(present), unit="shape") as advance:
        reasons: dict[str, str] = {}
        other_seed = []
        compared = threads.map(lambda source: _compare(source, store, seed), present)
        for source, (reason, same_seed) in zip(present, compared, strict=True):
            if reason:
                reasons[source.key] = reason
            elif not same_seed:
                other_seed.append(source.key)
            advance()
    if other_seed:
        raise StoreError(
            f"{store.path}: {len(other_seed)} of its shapes were made with another --seed than {seed}, for example "
            f"{other_seed[0]}; give the seed they were made with, --overwrite to make them again, or another store"
        )
    return reasons


def _compare(source: Source, store: SampleStore, seed: int) -> tuple[str, bool]:
    """Why to make the shape again, or "", and whether the store has it with this seed."""
    try:
        digest, stored_seed = store.provenance(source.key)
    except StoreError:
        return f"{source.key}: what the store holds is damaged", True
    try:
        if source.digest() != digest:
            return f"{source.key}: {source.name} is not what it was made from any more", True
    except (LatentSDFError, OSError) as error:
        return f"{source.key}: {source.name} cannot be read any more ({error})", True
    return "", stored_seed == shape_seed(source, seed)
