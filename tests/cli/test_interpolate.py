"""`latentsdf interpolate`: animations, folders and the names of shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentsdf as ls
from latentsdf import cli

SMALL = ["--steps", "3", "--resolution", "32", "--device", "cpu"]


@pytest.mark.slow
def test_animation_of_shortest_path(space_path: Path, tmp_path: Path) -> None:
    """Three steps become a loop of four frames; other suffixes are refused."""
    args = ["interpolate", str(space_path), "--id", "table_0000", "table_0001", *SMALL]
    assert cli.main([*args, "--method", "shortest", "--out", str(tmp_path / "strip.gif")]) == 0
    with Image.open(tmp_path / "strip.gif") as gif:
        assert gif.n_frames == 4  # type: ignore[attr-defined]
    assert cli.main([*args, "--out", str(tmp_path / "strip.txt")]) == 2


@pytest.mark.slow
def test_old_name_of_flag(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--ids` is accepted with a note, and only JSON is printed on standard output."""
    np.save(tmp_path / "code.npy", ls.load(space_path, "cpu").code("table_0001"))
    args = ["interpolate", str(space_path), "--ids", "table_0000", str(tmp_path / "code.npy"), *SMALL, "--json"]
    assert cli.main([*args, "--out", str(tmp_path / "meshes")]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ids"] == ["table_0000", str(tmp_path / "code.npy")]
    assert "note --ids is now --id" in printed.err
    assert len(list((tmp_path / "meshes").glob("*.glb"))) == 3
