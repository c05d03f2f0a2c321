"""Guards against overwriting outputs, directly and in every command that writes a folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.files import files_of
from helpers.settings import small_config
from helpers.training import save_untrained

import latentsdf as ls
from latentsdf import cli
from latentsdf.cli import demo_pipeline
from latentsdf.config.reconstruction import FieldTrainConfig, NetworkConfig, ReconstructConfig
from latentsdf.training.extend import extend
from latentsdf.training.train import train
from latentsdf.utils.output_folders import OutputKind, find_other_output, require_writable_output

MARKS = {
    "model.safetensors": "a trained space",
    "field.json": "a reconstruction",
    "code.npy": "the fit of a shape",
    "zarr.json": "a sample store",
}
"""Marker file of each kind of output, and its description in messages."""
WRITERS = {
    "train": ("model.safetensors", ["train", "--data", "none.zarr"]),
    "reconstruct": ("field.json", ["reconstruct", "points.npy"]),
    "invert": ("code.npy", ["invert", "nowhere", "chair.obj"]),
    "demo": ("model.safetensors", ["demo"]),
}
OTHERS = [(name, mark) for name, (own, _) in WRITERS.items() for mark in MARKS if mark != own]


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration file, beside a file of points."""
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", np.random.default_rng(0).normal(size=(200, 3)))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.yaml").write_text("method: hotspot\n")
    return folder


def test_free_folders(tmp_path: Path) -> None:
    """Missing folders, empty folders and folders with unrelated files are accepted."""
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "new"):
        assert find_other_output(folder, "field") is None
        require_writable_output(folder, "field", overwrite=False)


@pytest.mark.parametrize(("kind", "mark"), [*zip(("space", "field", "fit", "store"), MARKS, strict=True)])
def test_occupied_folders(kind: OutputKind, mark: str, tmp_path: Path) -> None:
    """An output of the same kind is replaced only with `overwrite`, and one of another kind never."""
    (tmp_path / mark).touch()
    require_writable_output(tmp_path, kind, overwrite=True)
    with pytest.raises(ls.CheckpointError, match=f"holds {MARKS[mark]} already; pass --resume"):
        require_writable_output(tmp_path, kind, overwrite=False, instead="pass --resume")
    other: OutputKind = "fit" if kind != "fit" else "space"
    assert find_other_output(tmp_path, other) == MARKS[mark]
    with pytest.raises(ls.CheckpointError, match=f"holds {MARKS[mark]}; name another --out"):
        require_writable_output(tmp_path, other, overwrite=True)


@pytest.mark.parametrize(("name", "mark"), OTHERS)
def test_other_outputs_after_commands(name: str, mark: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands refuse a folder with an output of another kind, even with --overwrite, and leave it unchanged."""
    (out / mark).touch()
    before = files_of(out)
    overwrite = ["--overwrite"] if name in ("train", "reconstruct") else []
    assert cli.main([*WRITERS[name][1], "--out", str(out), *overwrite]) == 2
    assert f"out: holds {MARKS[mark]}; name another --out" in " ".join(capsys.readouterr().err.split())
    assert files_of(out) == before


@pytest.mark.parametrize("name", ["train", "reconstruct"])
def test_earlier_results_after_commands(name: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands replace an output of their own kind only with --overwrite."""
    own, words = WRITERS[name]
    (out / own).touch()
    assert cli.main([*words, "--out", str(out)]) == 2
    assert f"holds {MARKS[own]} already; pass" in " ".join(capsys.readouterr().err.split())


def test_other_outputs_after_functions(out: Path) -> None:
    """`train`, `extend` and `Reconstruction.save` refuse a folder with an output of another kind."""
    (out / "field.json").touch()
    for write in (train, lambda *words: extend("nowhere", *words)):
        with pytest.raises(ls.CheckpointError, match="holds a reconstruction; name another"):
            write("none.zarr", out, small_config())
    (out / "field.json").rename(out / "model.safetensors")
    tiny = ReconstructConfig(train=FieldTrainConfig(steps=1), model=NetworkConfig(width=8, depth=2))
    solid = ls.reconstruct(np.load("points.npy"), config=tiny, device="cpu")
    before = files_of(out)
    with pytest.raises(ls.CheckpointError, match="holds a trained space; name another"):
        solid.save(out)
    assert files_of(out) == before


def test_space_replaced_by_demo(out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo replaces a space that it trained itself, but no other."""

    def begin(*_: object) -> None:
        raise ls.LatentSDFError("begun")

    monkeypatch.setattr(demo_pipeline, "_preprocess", begin)
    for preset, message in (("small", "trained with preset 'small', not by the demo"), ("demo", "begun")):
        save_untrained(out, replace(small_config(), preset=preset))
        assert cli.main(["demo", "--out", str(out)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
