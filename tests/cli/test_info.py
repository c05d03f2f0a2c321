"""`latentsdf info`: stores and spaces."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.artifacts import write_space
from helpers.files import renew_manifest
from safetensors.numpy import load_file, save_file

from latentsdf import cli
from latentsdf.data.store import SampleStore


def test_store(store_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command lists the shapes of a store, and verification reads them."""
    assert cli.main(["info", str(store_path), "--verify", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert len(described["shapes"]) == 4 and described["verified"] is True


def test_space(space_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A space is described by its configuration and its shapes."""
    assert cli.main(["info", str(space_path), "--json"]) == 0
    printed = capsys.readouterr()
    described = json.loads(printed.out)
    assert len(described["shapes"]) == 4 and described["config"]["preset"] == "small"
    assert "preset small, 4 shapes, codes of length 8" in " ".join(printed.err.split())


def test_verified_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verification of a space compares all files, also those that loading does not read; earlier ones have no list."""
    write_space(tmp_path, 1)
    assert cli.main(["info", str(tmp_path), "--verify", "--json"]) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)["verified"]) == 6 and "6 files verified" in " ".join(printed.err.split())
    card = (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text(card.replace("tiny", "TINY"))
    assert cli.main(["info", str(tmp_path)]) == 0 and cli.main(["info", str(tmp_path), "--verify"]) == 2
    assert "README.md: damaged, its SHA-256" in " ".join(capsys.readouterr().err.split())


def test_space_with_impossible_weights(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that are not finite are found although the checksums match; integers are no codes."""
    shutil.copytree(space_path, tmp_path / "space")
    weights = load_file(tmp_path / "space" / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] * np.nan}, tmp_path / "space" / "model.safetensors")
    renew_manifest(tmp_path / "space")
    assert cli.main(["info", str(tmp_path / "space"), "--verify"]) == 2
    assert f"not finite ({name})" in " ".join(capsys.readouterr().err.split())
    codes = load_file(tmp_path / "space" / "codes.safetensors")["codes"]
    save_file({"codes": np.zeros(codes.shape, np.int64)}, tmp_path / "space" / "codes.safetensors")
    renew_manifest(tmp_path / "space")
    assert cli.main(["info", str(tmp_path / "space")]) == 2


def test_damaged_store(lamp_store: SampleStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shapes with impossible values are listed, and the others are described."""
    shutil.copytree(lamp_store.path, tmp_path / "s.zarr")
    path = tmp_path / "s.zarr" / "shapes" / "lamp" / "a" / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["scale"] = 0.0
    path.write_text(json.dumps(metadata))
    assert cli.main(["info", str(tmp_path / "s.zarr"), "--verify"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "expected a scale from 1e-12" in said and "1 of 3 shapes are damaged" in said


def test_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that does not exist is an error."""
    assert cli.main(["info", str(tmp_path / "none")]) == 2
    assert "no such folder" in " ".join(capsys.readouterr().err.split())
