"""Stored shapes that an earlier version of the sampling algorithm (`SAMPLING_VERSION`) sampled with known faults."""

from collections.abc import Iterable, Mapping

from latentsdf.data.records import ShapeInfo, ShapeSummary
from latentsdf.data.store import SampleStore
from latentsdf.data.zarr_layout import StorePath
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import StoreError

RENEW = "repeat the latentsdf-preprocess command with --renew to sample them again"
"""Advice for shapes with known faults."""

_MAX_NAMED = 3


def known_fault(info: ShapeInfo | ShapeSummary) -> str | None:
    """Return what can be wrong with the samples of a shape, or None if no fault is known.

    Samples that were imported, and those of closed meshes without sheets, are not affected by the faults of version 1.
    """
    if info.sampling_version > 1 or info.sign.method not in ("pseudonormal", "winding", "visibility"):
        return None
    faults = []
    if info.sign.method != "pseudonormal" and not info.watertight:
        faults.append("signs next to wide holes can be wrong")
    if info.sign.sheet > 0:
        faults.append("distances between the faces of thin walls can be wrong")
    return " and ".join(faults) or None


def find_known_faults(store: SampleStore, keys: Iterable[str]) -> dict[str, str]:
    """Return the known faults of stored shapes, by key; damaged shapes are left out."""
    faults = {}
    for key in keys:
        try:
            fault = known_fault(store.summary(key))
        except StoreError:
            continue
        if fault is not None:
            faults[key] = fault
    return faults


def note_known_faults(store: StorePath, faults: Mapping[str, str], advice: str = RENEW) -> None:
    """Print a note that names the shapes with known faults, if there are any.

    Args:
        store: Path of the store.
        faults: Known faults by key of the shape.
        advice: What to do.
    """
    if faults:
        named = ", ".join(list(faults)[:_MAX_NAMED]) + (", ..." if len(faults) > _MAX_NAMED else "")
        what = "; ".join(sorted({fault for reason in faults.values() for fault in reason.split(" and ")}))
        count = f"{len(faults)} shapes were" if len(faults) > 1 else "1 shape was"
        text = f"{store}: {count} sampled by an earlier version ({named}): {what}; {advice}"
        show_note("earlier version", text)
