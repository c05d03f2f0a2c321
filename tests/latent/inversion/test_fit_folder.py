"""Folders of fits: round trip, replacement, names, and errors. No trained space is needed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

import latentsdf as ls
from latentsdf.geometry.similarity import Similarity
from latentsdf.latent.inversion.delta import Delta
from latentsdf.latent.inversion.fit_folder import Inversion, load_code, load_fits
from latentsdf.latent.inversion.verdict import Verdict
from latentsdf.latent.retrieval import Hits

DELTA = Delta(
    "model and code",
    np.array([2, 7]),
    np.ones((2, 4), np.float16),
    8,
    np.array([0, 5, 9]),
    np.array([0.1, 0.2, 0.3], np.float16),
)
FIT = Inversion(
    code=np.arange(3, dtype=np.float32),
    history=np.array([0.5, 0.25], dtype=np.float32),
    residual=0.004,
    similarity=Similarity((1.0, 2.0, 3.0), 0.5, 0.7),
    delta=DELTA,
    layers=np.arange(6, dtype=np.float32).reshape(2, 3),
    space="here",
    verdict=Verdict("ambiguous", 0.99, 0.01, 0.002, 0.006, True),
)
RIVAL = replace(FIT, code=np.ones(3, np.float32), history=FIT.history[:0], delta=None, layers=None, margin=0.2)


def test_round_trip(tmp_path: Path) -> None:
    """A loaded fit has the values of the saved one, and the report names target and neighbors."""
    folder = tmp_path / "new" / "fit"
    report = FIT.save(folder, mesh=trimesh.creation.box(), target="chair.ply", nearest=Hits(["a"], [0.1]))
    assert json.loads(json.dumps(report)) == json.loads((folder / "report.json").read_text())
    assert (report["target"], report["nearest"]) == ("chair.ply", {"ids": ["a"], "distances": [0.1]})
    assert {file.name for file in folder.iterdir()} == {
        "report.json", "code.npy", "layers.npy", "delta.npz", "mesh.ply", "manifest.json",
    }  # fmt: skip
    loaded = ls.load_fit(folder, "here")
    assert (loaded.residual, loaded.verdict, loaded.similarity, loaded.space) == (
        0.004,
        FIT.verdict,
        FIT.similarity,
        "here",
    )
    assert not loaded.ok and replace(loaded, verdict=None).ok
    assert loaded.layers is not None and loaded.delta is not None
    for got, wanted in (
        (loaded.code, FIT.code),
        (loaded.history, FIT.history),
        (loaded.layers, FIT.layers),
        (loaded.delta.features, DELTA.features),
        (loaded.delta.index, DELTA.index),
    ):
        np.testing.assert_array_equal(got, wanted)


def test_round_trip_of_rivals(tmp_path: Path) -> None:
    """Rivals are read with their codes, placements, verdicts and margins; a file with other codes is refused."""
    replace(FIT, rivals=(RIVAL, replace(RIVAL, margin=0.5, verdict=None))).save(tmp_path / "fit")
    first, second = ls.load_fit(tmp_path / "fit").rivals
    np.testing.assert_array_equal(first.code, RIVAL.code)
    assert (first.margin, first.verdict, first.similarity) == (0.2, RIVAL.verdict, RIVAL.similarity)
    assert (second.margin, second.verdict) == (0.5, None)
    np.save(tmp_path / "fit" / "rivals.npy", np.ones((3, 2), np.float32))
    with pytest.raises(ls.CheckpointError, match=r"rivals\.npy: expected codes \(2, 3\)"):
        ls.load_fit(tmp_path / "fit", verify=False)


def test_replacement_of_older_fit(tmp_path: Path) -> None:
    """Files that the new fit does not have are removed."""
    FIT.save(tmp_path, mesh=trimesh.creation.box())
    plain = replace(FIT, delta=None, layers=None)
    plain.save(str(tmp_path))
    assert {file.name for file in tmp_path.iterdir()} == {"report.json", "code.npy", "manifest.json"}
    loaded = ls.load_fit(tmp_path)
    assert loaded.layers is None and loaded.delta is None


def test_folder_of_another_kind(tmp_path: Path) -> None:
    """A fit is not written into the folder of a trained space."""
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(ls.CheckpointError, match="holds a trained space|contains a trained space"):
        FIT.save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_fit_of_another_space(tmp_path: Path) -> None:
    """The fingerprint is compared where the fit and the caller have one; reports of version 0.1 may lack it."""
    FIT.save(tmp_path)
    with pytest.raises(ls.CheckpointError, match="expected a fit of this space"):
        ls.load_fit(tmp_path, "there")
    report = json.loads((tmp_path / "report.json").read_text())
    del report["space"], report["manifest"]
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "manifest.json").unlink()
    assert ls.load_fit(tmp_path, "there").space == ""


def test_damaged_folders(tmp_path: Path) -> None:
    """Missing and damaged files raise errors that name them."""
    with pytest.raises(ls.CheckpointError, match="missing report.json and code.npy"):
        ls.load_fit(tmp_path)
    FIT.save(tmp_path)
    (tmp_path / "delta.npz").unlink()
    with pytest.raises(ls.CheckpointError, match="delta.npz is missing"):
        ls.load_fit(tmp_path)
    replace(FIT, delta=None).save(tmp_path)
    np.save(tmp_path / "code.npy", FIT.code + 1)
    with pytest.raises(ls.CheckpointError, match=r"code\.npy: damaged, its SHA-256 .* or invert the shape again"):
        ls.load_fit(tmp_path)
    np.testing.assert_array_equal(ls.load_fit(tmp_path, verify=False).code, FIT.code + 1)
    np.save(tmp_path / "code.npy", np.array(["abc"]))
    with pytest.raises(ls.ConfigError, match=r"code\.npy: not an array of real numbers"):
        ls.load_fit(tmp_path, verify=False)
    for text in ("not JSON", "{}", "[1]", "[" * 100_000):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(ls.CheckpointError, match=r"report\.json: damaged, it has"):
            ls.load_fit(tmp_path, verify=False)
        (tmp_path / "manifest.json").unlink(missing_ok=True)
        with pytest.raises(ls.CheckpointError, match="or damaged; invert the shape again"):
            ls.load_fit(tmp_path)
        replace(FIT, delta=None).save(tmp_path)


def test_bare_codes(tmp_path: Path) -> None:
    """A code file is read as an array, a folder as a fit."""
    FIT.save(tmp_path / "fit")
    code = load_code(tmp_path / "fit" / "code.npy")
    assert isinstance(code, np.ndarray) and np.array_equal(code, FIT.code)
    assert isinstance(load_code(tmp_path / "fit"), Inversion)
    with pytest.raises(FileNotFoundError, match="no such code file or folder"):
        load_code(tmp_path / "none.npy")


def test_names_of_several_fits(tmp_path: Path) -> None:
    """Fits are named after a known folder name, otherwise after their target; unusable ones have a reason."""
    for name, target in (("a", "x.ply"), ("renamed", "meshes/b.ply"), ("untitled", None)):
        FIT.save(tmp_path / name, target=target)
    FIT.save(tmp_path / "damaged")
    (tmp_path / "damaged" / "code.npy").write_bytes(b"")
    fits, failed = load_fits(tmp_path, {"a", "b"})
    assert set(fits) == {"a", "b", "untitled"} and set(failed) == {"damaged"}
    assert "code.npy: damaged, it has 0 bytes" in failed["damaged"]
    assert set(load_fits(tmp_path / "renamed")[0]) == {"b"}
    with pytest.raises(ls.ConfigError, match="holds no fit"):
        load_fits(tmp_path / "none")
