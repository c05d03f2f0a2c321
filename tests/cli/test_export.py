"""`latentsdf export`: selected shapes, compression and failures."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from latentsdf import cli
from latentsdf.data.store import SampleStore


def test_selected_shapes(lamp_store: SampleStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The selected shapes are written with the chosen compression and reported."""
    path = tmp_path / "s.h5"
    args = [
        "export",
        str(lamp_store.path),
        str(path),
        "--id",
        "b.1",
        "--id",
        "lamp/a",
        "--compression",
        "lzf",
        "--json",
    ]
    assert cli.main(args) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"out": str(path), "shapes": ["lamp/b.1", "lamp/a"], "bytes": path.stat().st_size}
    with h5py.File(path) as file:
        assert sorted(file["lamp"]) == ["a", "b.1"]
        assert file["lamp/a/near"].compression == "lzf"


def test_unknown_shape(lamp_store: SampleStore, tmp_path: Path, messages: Callable[[], str]) -> None:
    """An id that the store lacks is an error, and no file is written."""
    assert cli.main(["export", str(lamp_store.path), str(tmp_path / "s.h5"), "--id", "zz"]) == 2
    assert "has no shape 'zz'" in messages() and not list(tmp_path.iterdir())
