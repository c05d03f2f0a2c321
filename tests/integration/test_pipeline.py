"""Training on four procedural tables and every use of the space, as a library and as commands."""

import json
import math
import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import yaml
from helpers.files import renew_manifest
from helpers.settings import TINY_MODEL, small_config
from helpers.training import new_trainer

import latentsdf as ls
from latentsdf import cli
from latentsdf.config import loader
from latentsdf.config.inversion import InvertConfig
from latentsdf.config.training import Config
from latentsdf.data.furniture import furniture
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.geometry.mesh import load, save
from latentsdf.space import ShapeSpace
from latentsdf.training import checkpoint, objective
from latentsdf.training import train as training
from latentsdf.training.checkpoint import read_metrics

FAST = InvertConfig(steps=60, starts=2, points=1024)


@pytest.mark.slow
def test_training_error_bounds(trained_space: ShapeSpace, trained_space_path: Path) -> None:
    """The overfit term falls below 15 % of its start, and meshes are close to their references."""
    lines = read_metrics(trained_space_path)
    assert lines[-1]["overfit"] < 0.15 * lines[0]["overfit"]
    references = {name: furniture("table", int(name[-4:])) for name in trained_space.ids}
    evaluation, _ = evaluate(trained_space, references, resolution=64, points=20_000)
    summary = evaluation.summary()
    assert not evaluation.failed and len(evaluation.shapes) == 4
    assert summary["to_reference_mean"]["median"] < 0.008
    assert summary["f_score_0.01"]["median"] > 0.9


@pytest.mark.slow
def test_user_frame_of_fit_folder(space_path: Path, tmp_path: Path) -> None:
    """A folder written by `invert` restores the shape in the frame of the user."""
    mesh = furniture("table", 2)
    mesh.apply_translation((5.0, 0.0, 0.0))
    save(mesh, tmp_path / "moved.ply")
    fit = str(tmp_path / "fit")
    invert = ["invert", str(space_path), str(tmp_path / "moved.ply"), "--out", fit, "--steps", "40"]
    assert cli.main([*invert, "--resolution", "32", "--device", "cpu"]) == 0
    out = tmp_path / "again.ply"
    extract = ["extract", str(space_path), "--code", fit, "--resolution", "32", "--out", str(out)]
    assert cli.main([*extract, "--device", "cpu"]) == 0
    written = load(tmp_path / "fit" / "mesh.ply").vertices
    assert np.array_equal(load(out).vertices, written) and written[:, 0].min() > 3
    assert cli.main([*invert, "--one-code", "--resolution", "32", "--device", "cpu"]) == 0
    assert not (tmp_path / "fit" / "layers.npy").exists()
    plain = load(tmp_path / "fit" / "mesh.ply").vertices
    assert plain.shape != written.shape or not np.allclose(plain, written)


def test_completion_of_interrupted_move(space_path: Path, tmp_path: Path) -> None:
    """The next reader moves a checkpoint that an earlier version completed before a crash into place."""
    shutil.copytree(space_path, tmp_path / "space", ignore=shutil.ignore_patterns("manifest.json"))
    listing = json.loads((tmp_path / "space" / "shapes.json").read_text())
    del listing["manifest"]
    (tmp_path / "space" / "shapes.json").write_text(json.dumps(listing))
    aside = tmp_path / "space" / ".next"
    aside.mkdir()
    for name in ("config.yaml", "codes.safetensors", "model.safetensors"):
        (tmp_path / "space" / name).rename(aside / name)
    with pytest.raises(ls.CheckpointError, match="not a complete checkpoint"):
        checkpoint.load(tmp_path / "space")
    (aside / "complete").touch()
    assert len(checkpoint.load(tmp_path / "space").keys) == 4 and not aside.exists()


@pytest.mark.parametrize("moved", range(7))
def test_state_after_crash(moved: int, space_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash at any file, a state is never combined with other weights."""
    folder = tmp_path / "space"
    shutil.copytree(space_path, folder)
    old = checkpoint.load(folder)
    new = (old.model, old.codes + 1, old.keys, old.similarities, old.normalization, old.config)
    replace_file, count = os.replace, 0

    def crash_after_some(source: Path, target: Path) -> None:
        nonlocal count
        if Path(target).parent == folder:
            count += 1
            if count > moved:
                raise KeyboardInterrupt
        replace_file(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", crash_after_some)
        with suppress(KeyboardInterrupt):
            checkpoint.save(folder, *new, None, steps=1)
    # Before a reader repairs the folder, it contains no state that belongs to other weights.
    assert not (folder / "state.pt").is_file()
    torch.testing.assert_close(checkpoint.load(folder).codes, old.codes + 1)
    with pytest.raises(ls.CheckpointError, match="state.pt is missing"):
        checkpoint.load_state(folder)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_and_extraction_on_gpu(store_path: Path, tmp_path: Path) -> None:
    """Training, extraction and inversion run on a GPU."""
    training.train(store_path, tmp_path / "space", small_config(), device="cuda")
    space = ls.load(tmp_path / "space", "cuda")
    references = {name: furniture("table", int(name[-4:])) for name in space.ids}
    evaluation, _ = evaluate(space, references, unseen=True, resolution=64, points=20_000, inversion=FAST)
    assert evaluation.summary()["f_score_0.01"]["median"] > 0.9
    assert space.extract(space.codes[1], 64).is_watertight


@pytest.mark.slow
def test_reproducible_losses_and_resume(store_path: Path, tmp_path: Path) -> None:
    """The same seed gives the same losses, and a resumed run equals an uninterrupted one."""
    config = small_config(steps=60)
    training.train(store_path, tmp_path / "through", config, device="cpu")
    run = new_trainer(store_path, config)
    for _ in range(25):
        run.train_step()
    (tmp_path / "stopped").mkdir()
    training.save(run, tmp_path / "stopped")
    training.train(store_path, tmp_path / "stopped", config, resume=True, device="cpu")
    through, stopped = (checkpoint.load(tmp_path / name) for name in ("through", "stopped"))
    assert torch.equal(through.codes, stopped.codes)
    for name, value in through.model.state_dict().items():
        assert torch.equal(value, stopped.model.state_dict()[name]), name


@pytest.mark.slow
def test_loadable_space_after_interrupt(store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C writes a checkpoint that loads and resumes."""
    step = training.Trainer.train_step

    def interrupted(run: training.Trainer) -> dict[str, float]:
        if run.step == 9:
            signal.raise_signal(signal.SIGINT)
        return step(run)

    monkeypatch.setattr(training.Trainer, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training.train(store_path, tmp_path / "space", small_config())
    assert len(checkpoint.load(tmp_path / "space").keys) == 4
    assert checkpoint.load_state(tmp_path / "space")["step"] == 10


@pytest.mark.slow
def test_checkpoint_after_nonfinite_loss(store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a loss that is not finite names term and shapes, and the checkpoint is kept."""
    config = replace(small_config(steps=5), loss=replace(small_config().loss, code=1e-4))
    training.train(store_path, tmp_path / "space", config)
    before = (tmp_path / "space" / "model.safetensors").read_bytes()
    longer = replace(config, train=replace(config.train, steps=9))
    monkeypatch.setattr(objective, "code_prior_term", lambda codes, *_: codes.sum() * math.nan)
    with pytest.raises(ls.TrainingError, match="the code term is not finite for .*table/table_000"):
        training.train(store_path, tmp_path / "space", longer, resume=True)
    assert (tmp_path / "space" / "model.safetensors").read_bytes() == before


def test_inconsistent_checkpoints(space_path: Path, store_path: Path, tmp_path: Path) -> None:
    """Errors name missing, damaged and mismatched files of a checkpoint."""
    with pytest.raises(FileNotFoundError, match="no such checkpoint folder; train one"):
        checkpoint.load(tmp_path / "none")
    copy = tmp_path / "copy"
    shutil.copytree(space_path, copy)
    with pytest.raises(ls.CheckpointError, match="holds a trained space already; pass --resume, --overwrite"):
        training.train(store_path, copy, small_config())
    config = small_config(model=TINY_MODEL)
    other = replace(config, preset="other", loss=replace(config.loss, heat=0.5))
    with pytest.raises(ls.CheckpointError, match=r"trained with preset 'small'.*preset \(small -> other\), loss\.heat"):
        training.train(store_path, copy, other, resume=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(yaml.safe_dump(loader.merge(config, {"model.code_dim": 9})))
    with pytest.raises(ls.CheckpointError, match=r"config.yaml: damaged, .*; restore it from a copy, or train again"):
        checkpoint.load(copy)
    renew_manifest(copy)
    with pytest.raises(ls.CheckpointError, match="model.safetensors does not match config.yaml .preset 'small'."):
        checkpoint.load(copy)
    (copy / "shapes.json").write_text((copy / "shapes.json").read_text().replace('"format": 2', '"format": 1', 1))
    renew_manifest(copy)
    with pytest.raises(
        ls.CheckpointError, match="checkpoint format 1, but this version reads 2 and 3; update latentsdf"
    ):
        checkpoint.load(copy)
    (copy / "codes.safetensors").unlink()
    with pytest.raises(ls.CheckpointError, match="not a complete checkpoint, codes.safetensors is missing"):
        checkpoint.load(copy)


@pytest.mark.slow
def test_commands_from_training_to_evaluation(
    store_path: Path, space_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands from training to evaluation succeed and write their files."""
    space, mesh = str(space_path), tmp_path / "new.obj"
    save(furniture("table", 50), mesh)
    out = tmp_path / "out"
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump({"preset": "small", "model": {"grid": {"resolution": 16, "channels": 4}}}))
    train = ["train", "--config", str(config), "--data", str(store_path), "--out", str(out / "space"), "--steps", "3"]
    points = trimesh.sample.sample_surface(furniture("table", 50), 500, seed=0)[0]
    trimesh.PointCloud(points).export(tmp_path / "points.ply")
    commands = [
        [*train, "--train.shapes_per_batch", "2"],
        ["extract", space, "--id", "table_0000", "--resolution", "64", "--mode", "fused", "--out", str(out / "a.ply")],
        ["invert", space, str(mesh), "--out", str(out / "fit"), "--steps", "10", "--resolution", "32"],
        ["invert", space, str(tmp_path / "points.ply"), "--out", str(out / "cloud"), "--steps", "2",
         "--resolution", "32"],
        ["extract", space, "--code", str(out / "fit" / "code.npy"), "--resolution", "32", "--out", str(out / "b.stl")],
        ["extract", space, "--id", "table_0000", "--resolution", "32", "--faces", "200", "--normals",
         "--out", str(out / "c.glb")],
        ["interpolate", space, "--ids", "table_0000", "table_0001", "--steps", "3", "--resolution", "32",
         "--out", str(out / "strip.png")],
        ["interpolate", space, "--ids", "table_0000", "table_0001", "--steps", "2", "--resolution", "32",
         "--out", str(out / "frames")],
        ["render", space, "--id", "table_0000", "--size", "48", "--out", str(out / "a.png")],
        ["info", str(store_path), "--verify"],
        ["info", space],
    ]  # fmt: skip
    for command in commands:
        assert cli.main(command) == 0, command
    for name in ("space/model.safetensors", "a.ply", "fit/code.npy", "fit/mesh.ply", "fit/report.json",
                 "cloud/mesh.ply", "b.stl",                 "strip.png", "frames/frame_001.glb", "a.png"):  # fmt: skip
        assert (out / name).stat().st_size > 0
    capsys.readouterr()
    assert cli.main(["retrieve", space, "--mesh", str(mesh), "-k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["ids"]) == 3
    meshes = tmp_path / "meshes"
    save(furniture("table", 0), meshes / "table" / "table_0000.obj")
    (meshes / "table" / "bad.obj").write_text("")
    (tmp_path / "split.json").write_text(json.dumps({"d": {"table": ["table_0000", "bad"]}}))
    evaluation = ["evaluate", space, "--meshes", str(meshes), "--split", str(tmp_path / "split.json"), "--json"]
    assert cli.main([*evaluation, "--resolution", "64", "--points", "2000", "--out", str(out / "metrics")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["shapes"]) == {"table_0000"} and "the file is empty" in result["failed"]["bad"]
    assert (out / "metrics" / "metrics.csv").read_text().count("\n") == 2
    assert (out / "metrics" / "worst.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["extract", "SPACE", "--id", "table_0000", "--out", "x.xyz", "--resolution", "32"], "cannot write '.xyz'"),
        (["invert", "SPACE", "nothing.obj", "--out", "x"], "no such file"),
        (
            ["extract", "SPACE", "--id", "table_0000", "--out", "x.stl", "--normals"],
            "normals can only be stored in .ply, .obj, .glb, .usda, .usdc, .usd files",
        ),
        (["info", "SPACE", "--nonsense"], "unknown argument --nonsense"),
        (
            ["sample", "SPACE", "--sum", "nan*table_0000", "--out", "x.png"],
            "the weight must be a finite number, got nan",
        ),
        (["info", "nowhere"], "nowhere: no such folder; info reads a sample store or a checkpoint"),
    ],
)
def test_exit_code_and_message_for_wrong_use(
    command: list[str], message: str, space_path: Path, store_path: Path, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Invalid use exits with code 2 and a message about the arguments of the user."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"\x89\xff\x00")
    places = {"SPACE": str(space_path), "STORE": str(store_path)}
    assert cli.main([places.get(word, word) for word in command]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_default_configuration_round_trip(tmp_path: Path) -> None:
    """The default configuration equals itself after being written and read."""
    from dataclasses import asdict

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(asdict(Config())))
    assert loader.load(Config, tmp_path / "config.yaml") == Config()
