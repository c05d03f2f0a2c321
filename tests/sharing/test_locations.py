"""Names of spaces that come with latentsdf."""

from pathlib import Path

import pytest
from helpers.artifacts import write_space

import latentsdf as ls
from latentsdf import cli
from latentsdf.sharing import locations
from latentsdf.sharing.locations import locate_space, pretrained_folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of an installed package with a pretrained space; the working directory is another, empty one."""
    package = tmp_path / "site-packages" / "latentsdf"
    write_space(package / "pretrained" / "furniture", 1)
    monkeypatch.setattr(locations, "_PACKAGE", package)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return package


def test_names(package: Path) -> None:
    """A name finds the pretrained space, in Python and in commands; a folder of that name takes precedence."""
    assert ls.load("furniture").folder == package / "pretrained" / "furniture"
    assert cli.main(["info", "furniture"]) == 0
    assert locate_space("chairs") == Path("chairs") and locate_space("./furniture") == Path("furniture")
    write_space(Path("furniture"), 2)
    assert ls.load("furniture").folder == Path("furniture")


def test_checkout(package: Path) -> None:
    """In a checkout, pretrained spaces are in checkpoints/; a space that is missing is an error that says so."""
    (package / "pretrained" / "furniture").rename(package.parent / "checkpoints")
    (package / "pretrained").rmdir()
    assert pretrained_folder("furniture") == package.parent / "checkpoints" / "furniture"
    with pytest.raises(ls.CheckpointError, match="'furniture' is not part of this installation"):
        ls.load("furniture")
    with pytest.raises(FileNotFoundError, match="no such checkpoint folder"):
        ls.load("chairs")
