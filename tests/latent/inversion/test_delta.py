"""Files and validity of refined detail."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import latentsdf as ls
from latentsdf.latent.inversion.delta import Delta, fingerprint
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import ShapeSpace


def test_file_round_trip(refined: Inversion, tmp_path: Path) -> None:
    """A loaded delta equals the saved one; the file is not larger than its features."""
    delta = refined.delta
    assert delta is not None
    delta.save(tmp_path / "delta.npz")
    again = Delta.load(tmp_path / "delta.npz")
    assert (again.base_fingerprint, again.resolution) == (delta.base_fingerprint, delta.resolution)
    for name in ("rows", "features", "index", "correction"):
        assert np.array_equal(getattr(again, name), getattr(delta, name)), name
        assert getattr(again, name).dtype == getattr(delta, name).dtype, name
    read = delta.features.nbytes + delta.correction.nbytes
    assert (tmp_path / "delta.npz").stat().st_size < 1.05 * read + 2000
    assert [file.name for file in tmp_path.iterdir()] == ["delta.npz"]


def test_damaged_and_missing_files(refined: Inversion, tmp_path: Path) -> None:
    """Missing and damaged files raise errors that name the remedy."""
    path = tmp_path / "delta.npz"
    with pytest.raises(FileNotFoundError, match="no such delta; write one with `latentsdf invert --refine`"):
        Delta.load(path)
    assert refined.delta is not None
    refined.delta.save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a delta", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ls.CheckpointError, match="damaged delta"):
            Delta.load(path)
    np.savez(path, rows=np.arange(3))
    with pytest.raises(ls.CheckpointError, match="damaged delta"):
        Delta.load(path)


def test_delta_of_another_space_or_code(space: ShapeSpace, space_path: Path, refined: Inversion) -> None:
    """A delta applies only to the model and the code for which it was refined."""
    other = ls.load(space_path, device="cpu")
    other.model.overfit.last.bias.add_(1e-3)
    with pytest.raises(ls.CheckpointError, match="expected the space and code that the delta was refined for"):
        other.extract(refined, 32)
    with pytest.raises(ls.CheckpointError, match="expected the space and code that the delta was refined for"):
        space.extract(replace(refined, layers=refined.layers + 1e-3), 32)
    with pytest.raises(ls.CheckpointError, match="expected the space and code that the delta was refined for"):
        space.extract(replace(refined, layers=None), 32)


@pytest.mark.slow
def test_zero_delta(space: ShapeSpace, fit: Inversion) -> None:
    """A delta of zeros or without rows does not change the surface."""
    code = space.decoded_code(fit)
    rows, index = np.array([5, 7, 30_000]), np.array([0, 100])
    zero = Delta(fingerprint(space.model, code), rows, np.zeros((3, 8), np.float16), 16, index, np.zeros(2, np.float16))
    empty = Delta(zero.base_fingerprint, rows[:0], zero.features[:0], 16, index[:0], zero.correction[:0])
    plain = space.extract(fit, 64)
    for delta in (zero, empty):
        mesh = space.extract(replace(fit, delta=delta), 64)
        assert np.array_equal(mesh.vertices, plain.vertices) and np.array_equal(mesh.faces, plain.faces)
