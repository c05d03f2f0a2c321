"""What lies in an output folder already, told by a file that only its kind has: so that nothing is written over it."""

from pathlib import Path
from typing import Literal

from latentsdf.utils.errors import CheckpointError

OutputKind = Literal["space", "field", "fit", "store"]

_KINDS: dict[OutputKind, tuple[str, str]] = {
    "space": ("model.safetensors", "a trained space"),
    "field": ("field.json", "a reconstruction"),
    "fit": ("code.npy", "the fit of a shape"),
    "store": ("zarr.json", "a sample store"),
}


def find_other_output(folder: Path, kind: OutputKind) -> str | None:
    """What of another kind a folder holds, in words; None for nothing of ours."""
    others = (known for name, known in _KINDS.items() if name != kind)
    return next((words for mark, words in others if (folder / mark).is_file()), None)


def require_writable_output(
    out: Path, kind: OutputKind, *, overwrite: bool, instead: str = "pass --overwrite, or another --out"
) -> None:
    """Raise CheckpointError where writing a `kind` into a folder would mix it with another kind's files, or, unless
    told to overwrite, replace one of its own; `instead` says what to do about the latter.
    """
    if other := find_other_output(out, kind):
        raise CheckpointError(f"{out}: holds {other}; name another --out")
    mark, words = _KINDS[kind]
    if (out / mark).is_file() and not overwrite:
        raise CheckpointError(f"{out}: holds {words} already; {instead}")
