"""One folder, one kind of result: what is there already is refused before anything is written or computed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import files_of, save_untrained, small_config

import latentsdf as ls
from latentsdf import cli
from latentsdf.cli import demo_pipeline
from latentsdf.config.reconstruction import FieldTrainConfig, NetworkConfig, ReconstructConfig
from latentsdf.training.extend import extend
from latentsdf.training.train import train

MARKS = {
    "model.safetensors": "a trained space",
    "field.json": "a reconstruction",
    "code.npy": "the fit of a shape",
    "zarr.json": "a sample store",
}
"""A file that only its kind of folder has, and what a message calls that."""
WRITERS = {
    "train": ("model.safetensors", ["train", "--data", "none.zarr"]),
    "reconstruct": ("field.json", ["reconstruct", "points.npy"]),
    "invert": ("code.npy", ["invert", "nowhere", "chair.obj"]),
    "demo": ("model.safetensors", ["demo"]),
}
OTHERS = [(name, mark) for name, (own, _) in WRITERS.items() for mark in MARKS if mark != own]


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds a configuration of something, beside a cloud of points."""
    monkeypatch.chdir(tmp_path)
    np.save("points.npy", np.random.default_rng(0).normal(size=(200, 3)))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.yaml").write_text("method: hotspot\n")
    return folder


@pytest.mark.parametrize(("name", "mark"), OTHERS)
def test_nothing_is_written_into_a_folder_of_another_kind(
    name: str, mark: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / mark).touch()
    before = files_of(out)
    overwrite = ["--overwrite"] if name in ("train", "reconstruct") else []
    assert cli.main([*WRITERS[name][1], "--out", str(out), *overwrite]) == 2
    assert f"out: holds {MARKS[mark]}; name another --out" in " ".join(capsys.readouterr().err.split())
    assert files_of(out) == before


@pytest.mark.parametrize("name", ["train", "reconstruct"])
def test_an_earlier_result_of_its_own_kind_is_kept_unless_told(
    name: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, words = WRITERS[name]
    (out / own).touch()
    assert cli.main([*words, "--out", str(out)]) == 2
    assert f"holds {MARKS[own]} already; pass" in " ".join(capsys.readouterr().err.split())


def test_the_library_refuses_as_the_commands_do(out: Path) -> None:
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


def test_the_demo_replaces_its_own_space_only(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object) -> None:
        raise ls.LatentSDFError("begun")

    monkeypatch.setattr(demo_pipeline, "_preprocess", begin)
    for preset, message in (("small", "trained with preset 'small', not by the demo"), ("demo", "begun")):
        save_untrained(out, replace(small_config(), preset=preset))
        assert cli.main(["demo", "--out", str(out)]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
