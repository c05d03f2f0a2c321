"""Extension of a trained space, and runs that start from one."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from helpers.files import files_of, renew_manifest

import latentsdf as ls
from latentsdf import cli
from latentsdf.data.store import SampleStore
from latentsdf.training import checkpoint
from preprocessing.job import run as preprocess
from preprocessing.sources import procedural

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def more_tables(tmp_path_factory: pytest.TempPathFactory, store_path: Path) -> Path:
    """A store of the tables 2 to 5, of which 4 and 5 are new."""
    path = tmp_path_factory.mktemp("more") / "tables.zarr"
    sampling = SampleStore.open(store_path).config
    assert not preprocess(procedural(["table"], count=4, first_seed=2), path, sampling, workers=2).failed
    return path


def test_unchanged_parts_of_extended_space(trained_space_path: Path, more_tables: Path, tmp_path: Path) -> None:
    """Extending trains codes of new shapes and leaves everything else unchanged bit for bit."""
    before = files_of(trained_space_path)
    command = [
        "train",
        "--extend",
        str(trained_space_path),
        "--data",
        str(more_tables),
        "--out",
        str(tmp_path / "more"),
    ]
    assert cli.main([*command, "--steps", "100", "--device", "cpu", "--train.lr_code", "0.05"]) == 0
    assert files_of(trained_space_path) == before
    assert (tmp_path / "more" / "model.safetensors").read_bytes() == before["model.safetensors"]
    old, new = checkpoint.load(trained_space_path), checkpoint.load(tmp_path / "more")
    assert new.keys == [*old.keys, "table/table_0004", "table/table_0005"]
    assert torch.equal(new.codes[:4], old.codes)
    losses = [line["loss"] for line in checkpoint.read_metrics(tmp_path / "more")]
    assert losses[-1] < 0.9 * losses[0]
    assert new.similarities[5] == SampleStore.open(more_tables).info("table/table_0005").similarity
    with pytest.raises(ls.CheckpointError, match="state.pt is missing"):
        checkpoint.load_state(tmp_path / "more")
    assert cli.main(command) == 2  # --out already contains a trained_space.


def test_parts_trained_by_fine_tuning(
    space_path: Path, more_tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fine-tuning, networks and the codes of shapes in the store are trained too."""
    command = ["train", "--extend", str(space_path), "--data", str(more_tables), "--out", str(tmp_path / "more")]
    assert cli.main([*command, "--steps", "5", "--fine-tune", "--device", "cpu"]) == 0
    assert "no samples of 2 old shapes" in " ".join(capsys.readouterr().err.split())
    old, new = checkpoint.load(space_path), checkpoint.load(tmp_path / "more")
    assert torch.equal(new.codes[:2], old.codes[:2]) and not torch.equal(new.codes[2:4], old.codes[2:4])
    assert not torch.equal(new.model.general.last.weight, old.model.general.last.weight)


def test_invalid_extensions(
    space_path: Path,
    store_path: Path,
    more_tables: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing to add, another model, and several processes are errors."""
    extend = ["train", "--extend", str(space_path), "--out", str(tmp_path / "x"), "--data"]
    for command, message in (
        ([*extend, str(store_path)], "all of its 4 shapes are already in"),
        ([*extend, str(more_tables), "--model.code_dim", "4"], "extending does not change the model"),
        ([*extend, str(more_tables), "--resume"], "--extend uses the settings of the space"),
        (["train", "--data", str(store_path), "--out", "x", "--fine-tune"], "--fine-tune requires --extend"),
    ):
        assert cli.main(command) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main([*extend, str(more_tables)]) == 2
    assert "by one process" in " ".join(capsys.readouterr().err.split())


def test_budget_of_extension(space_path: Path, more_tables: Path, tmp_path: Path) -> None:
    """The budget of the space does not limit its extension."""
    shutil.copytree(space_path, tmp_path / "space")
    config = (tmp_path / "space" / "config.yaml").read_text()
    assert "epochs: 0\n  minutes: 0.0" in config
    changed = config.replace("epochs: 0\n  minutes: 0.0", "epochs: 1\n  minutes: 1.0e-9")
    (tmp_path / "space" / "config.yaml").write_text(changed)
    renew_manifest(tmp_path / "space")
    command = ["train", "--extend", str(tmp_path / "space"), "--data", str(more_tables), "--steps", "20"]
    assert cli.main([*command, "--out", str(tmp_path / "more"), "--device", "cpu"]) == 0
    assert checkpoint.read_metrics(tmp_path / "more")[-1]["step"] == 20
    assert (
        len({path.stat().st_mode for path in (tmp_path / "more").glob("*.*")}) == 1
    )  # all files have the same permissions


def test_run_from_trained_space(
    trained_space_path: Path, more_tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that starts from a packed space keeps what it learned, and has the shapes of its own store only."""
    packed = tmp_path / "packed"
    ls.load(trained_space_path, "cpu").save_packed(packed, ids=["table_0002", "table_0003"], picture=False)
    command = ["train", "--data", str(more_tables), "--device", "cpu", "--train.log_every", "1", "--steps"]
    assert cli.main([*command, "1", "--start-from", str(packed), "--out", str(tmp_path / "one")]) == 0
    first, old = checkpoint.load(tmp_path / "one"), checkpoint.load(packed)
    assert first.keys == SampleStore.open(more_tables).keys() and first.prior is None
    mean = old.codes.mean(0)
    for key, code in zip(first.keys, first.codes, strict=True):
        start = old.codes[old.keys.index(key)] if key in old.keys else mean
        torch.testing.assert_close(code, start, rtol=0, atol=0.01)
    one_step = dataclasses.replace(first.config.train, steps=1)
    config = dataclasses.replace(old.config, train=one_step)
    space = ls.train(more_tables, config, start_from=packed, out=tmp_path / "python", device="cpu")
    assert torch.equal(space.codes, first.codes)
    with pytest.raises(ls.ConfigError, match="leave out start_from"):
        ls.train(more_tables, start_from=packed, out=tmp_path / "python", resume=True, device="cpu")
    fresh = [*command, "1", "--config", str(packed / "config.yaml"), "--out", str(tmp_path / "fresh")]
    assert cli.main(fresh) == 0
    losses = [checkpoint.read_metrics(tmp_path / name)[0]["loss"] for name in ("one", "fresh")]
    assert losses[0] < 0.5 * losses[1]
    assert cli.main([*command, "3", "--resume", "--out", str(tmp_path / "one")]) == 0
    assert checkpoint.read_metrics(tmp_path / "one")[-1]["step"] == 3
    other = [*command, "1", "--start-from", str(packed), "--out", str(tmp_path / "other"), "--model.code_dim", "4"]
    capsys.readouterr()
    assert cli.main(other) == 2
    assert "a run that starts from a space has its model" in " ".join(capsys.readouterr().err.split())
