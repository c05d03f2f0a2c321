"""Indices saved with a space: damaged ones, and those of other codes."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import files_of
from safetensors.torch import save_file

import latentsdf as ls


def test_folder_that_cannot_store_an_index(space_path: Path, tmp_path: Path) -> None:
    """A space is searched even if the index cannot be saved."""
    shutil.copytree(space_path, tmp_path / "copy", ignore=shutil.ignore_patterns("index*"))
    (tmp_path / "copy" / "index.faiss").mkdir()
    assert ls.load(tmp_path / "copy", "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert not list((tmp_path / "copy").glob("*.json.next"))


def test_index_of_other_codes(space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An index of other codes is rebuilt, and the old one is kept under another name."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    space = ls.load(folder, "cpu")
    for turn in ("", "2"):
        index = space.index()
        index.add(np.full((1, 8), 3, dtype=np.float32), ["mine"])
        index.save(folder)
        added = files_of(folder)
        newer = (folder / "codes.safetensors").stat().st_mtime + 100
        codes = space.codes.flip(0).contiguous()
        save_file({"codes": codes}, folder / "codes.safetensors")
        os.utime(folder / "index.faiss", (newer, newer))  # by its time the index would pass
        space = ls.load(folder, "cpu")
        capsys.readouterr()
        assert space.nearest(codes[1].numpy(), 5).ids[0] == space.ids[1] and "mine" not in space.index().ids
        said = capsys.readouterr().err
        assert "of another space" in said and f"kept as index.faiss.old{turn} and index.json.old{turn}" in said
        for name in ("index.faiss", "index.json"):
            assert (folder / f"{name}.old{turn}").read_bytes() == added[name]
    capsys.readouterr()
    ls.load(folder, "cpu").nearest("table_0000")
    assert capsys.readouterr().err == ""
    assert len(list(folder.glob("index*"))) == 6


def test_damaged_index(space_path: Path, tmp_path: Path) -> None:
    """The rest of a damaged index is kept under another name."""
    folder = tmp_path / "copy"
    shutil.copytree(space_path, folder, ignore=shutil.ignore_patterns("index*"))
    (folder / "index.json").write_text("not JSON")  # its codes are gone
    assert ls.load(folder, "cpu").nearest("table_0001", 1).ids == ["table_0001"]
    assert (folder / "index.json.old").read_text() == "not JSON" and not (folder / "index.faiss.old").exists()
