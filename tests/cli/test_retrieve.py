"""`latentsdf retrieve`: the saved index and the image of hits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentsdf as ls
from latentsdf import cli


def _size(image: Path) -> tuple[int, int]:
    with Image.open(image) as opened:
        return opened.size


@pytest.mark.slow
def test_changes_of_index(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fits are added to the saved index, found, and removed."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    np.save(tmp_path / "lamp.npy", ls.load(folder, "cpu").code("table_0001") + 1e-3)

    def retrieve(*args: str) -> dict[str, object]:
        assert cli.main(["retrieve", str(folder), *args, "--json", "--device", "cpu"]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    (tmp_path / "other").mkdir()
    np.save(tmp_path / "other" / "lamp.npy", np.zeros(8, np.float32))
    add, query = ["--add", str(tmp_path / "lamp.npy")], ["--id", "table_0001", "-k", "2"]
    for _ in range(2):  # a command that was interrupted may be repeated
        assert retrieve(*add) == {"kind": "flat", "codes": 5}
    assert retrieve(*query)["ids"] == ["table_0001", "lamp"]
    assert retrieve(*query, "--kind", "hnsw", "--out", str(tmp_path / "row.png"))["ids"] == ["table_0001", "lamp"]
    assert _size(tmp_path / "row.png")[0] == 400
    assert ls.load(folder, "cpu").index().kind == "hnsw"
    command = ["retrieve", str(folder), "--device", "cpu"]
    for args, message in (
        ([*command, "--remove", "lamp"], "codes cannot be removed from an hnsw index"),
        ([*command, "--add", str(tmp_path / "other" / "lamp.npy")], "'lamp' is in the index with another code"),
        ([*command, *add, add[1]], "need distinct names, got lamp, lamp"),
        ([*command, "--add", "nothing.npy"], "no such code file"),
        ([*command, *query, "--kind", "ivf"], "'ivf' needs at least 1,000 codes"),
    ):
        assert cli.main(args) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert retrieve("--remove", "lamp", "lamp", "--kind", "auto") == {"kind": "flat", "codes": 4}
    assert retrieve("--remove", "lamp") == {"kind": "flat", "codes": 4}
    assert "lamp" not in retrieve(*query)["ids"]  # type: ignore[operator]


@pytest.mark.slow
def test_reranked_image(space_path: Path, tmp_path: Path) -> None:
    """The image shows the query and two hits."""
    rows = ["retrieve", str(space_path), "--id", "table_0000", "-k", "2", "--rerank", "3", "--device", "cpu"]
    assert cli.main([*rows, "--out", str(tmp_path / "rows.png")]) == 0 and _size(tmp_path / "rows.png")[0] == 600


def test_inversion_arguments_without_mesh(space_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments of the inversion are rejected without --mesh, because they would have no effect."""
    args = ["retrieve", str(space_path), "--id", "table_0000", "--steps", "3", "--align", "--frame", "model"]
    assert cli.main(args) == 2
    assert "--steps and --align and --frame would have no effect" in " ".join(capsys.readouterr().err.split())
