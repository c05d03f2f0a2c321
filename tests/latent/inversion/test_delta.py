"""Files and validity of refined detail."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import latentsdf as ls
from latentsdf.latent.inversion.delta import Delta, fingerprint
from latentsdf.latent.inversion.deltas import parse_delta
from latentsdf.latent.inversion.fit_folder import Inversion
from latentsdf.space import ShapeSpace


def test_file_round_trip(learned: Inversion, tmp_path: Path) -> None:
    """A loaded delta equals the saved one; the file is not larger than its features."""
    delta = learned.delta
    assert isinstance(delta, Delta)
    delta.save(tmp_path / "delta.npz")
    again = parse_delta((tmp_path / "delta.npz").read_bytes(), "delta.npz")
    assert isinstance(again, Delta)
    assert (again.base_fingerprint, again.resolution) == (delta.base_fingerprint, delta.resolution)
    for name in ("rows", "features", "index", "correction"):
        assert np.array_equal(getattr(again, name), getattr(delta, name)), name
        assert getattr(again, name).dtype == getattr(delta, name).dtype, name
    read = delta.features.nbytes + delta.correction.nbytes
    assert (tmp_path / "delta.npz").stat().st_size < 1.05 * read + 2000
    assert [file.name for file in tmp_path.iterdir()] == ["delta.npz"]


@pytest.mark.parametrize("kind", ["learned", "refined"])
def test_damaged_files(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Damaged files and files of unknown formats raise errors that name the remedy."""
    path = tmp_path / "delta.npz"
    request.getfixturevalue(kind).delta.save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a delta", whole[: len(whole) // 2]):
        with pytest.raises(ls.CheckpointError, match=r"x.npz: damaged delta .*; refine the shape again"):
            parse_delta(damaged, "x.npz")
    for arrays, message in (({"rows": 3}, "damaged delta"), ({"format": 3}, "delta format 3, but .* reads 1 and 2")):
        np.savez(path, **arrays)
        with pytest.raises(ls.CheckpointError, match=message):
            parse_delta(path.read_bytes(), "x.npz")


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
