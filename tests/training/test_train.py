"""The run: streamed samples, stopping and resuming, several processes, extending, and what it leaves to look at."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import REPOSITORY, files_of, new_trainer, small_config
from PIL import Image

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.model import Branch, BranchConfig, ModelConfig
from latentsdf.config.sampling import SamplingConfig
from latentsdf.config.training import Config, LossConfig, TrainConfig
from latentsdf.data.sample_pool import ShapeSamplePool
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.data.sdf_samples import SampleStrata, load_samples, samples_nbytes
from latentsdf.data.store import SampleStore
from latentsdf.geometry.lattice import lattice_points
from latentsdf.models.latent_sdf import LatentSDF
from latentsdf.training import checkpoint, distributed, memory_estimate, objective, train
from latentsdf.training.logger import open_training_logger, reconstructions
from latentsdf.training.lr_schedule import learning_rate_factor, ramp_up
from latentsdf.training.objective import Objective
from preprocessing.job import run as preprocess
from preprocessing.sources import procedural


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> SampleStore:
    """Twelve lamps of several band chunks each."""
    from latentsdf.data import band_codec

    path = tmp_path_factory.mktemp("many") / "lamps.zarr"
    sampling = SamplingConfig(resolution=32, band_voxels=3, sparse_resolution=16, near=900, uniform=900, surface=10)
    assert not preprocess(procedural(["lamp"], count=12), path, sampling, workers=2).failed
    store = SampleStore.open(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_codec, "CHUNK_ROWS", 500)
        for key in store:
            store.write(store.read(key))
    assert store.band_chunk_count(store.keys()[0]) > 4
    return store


def _streaming(store: SampleStore, slots: int, **changes: object) -> TrainConfig:
    """Memory for so many of the shapes, at half of their samples."""
    mean = sum(samples_nbytes(store, key, lattice=False) for key in store) / len(store)
    settings = {"shapes_per_batch": 2, "points_per_shape": 8, "memory_gb": slots * 0.5 * mean / 1e9}
    return replace(TrainConfig(), **(settings | changes))  # type: ignore[arg-type]


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch, many: SampleStore) -> None:
    """Parts of half a shape."""
    mean = sum(samples_nbytes(many, key, lattice=False) for key in many) / len(many)
    monkeypatch.setattr("latentsdf.data.sample_pool._PART_BYTES", 0.5 * mean)
    monkeypatch.setattr("latentsdf.data.sample_pool.REFRESH_STEPS", 3)


def _same(a: SdfBatch, b: SdfBatch) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a))


@pytest.mark.usefixtures("halves")
def test_a_pool_holds_part_of_the_shapes_and_in_time_shows_all_of_all(many: SampleStore) -> None:
    pool = ShapeSamplePool(many, many.keys(), _streaming(many, 5), LossConfig())
    assert pool.streams and pool.slots == 5 and pool.share == pytest.approx(0.5)
    seen: set[int] = set()
    parts: set[int] = set()
    for step in range(3 * 12 * 8):
        batch = pool.batch(step)
        assert len(set(batch.shape_index.tolist())) == 2
        seen |= set(batch.shape_index.tolist())
        parts |= {part for part in map(pool._part_in, range(5)) if pool._row(part) == 0}
        assert len(pool._parts) == 5
    assert seen == set(range(12))
    pool.close()
    # Shape 0 was resident in one half after another, and together they hold nearly all of it.
    assert len(parts) >= 7
    places = [set(pool._read(part).band_index.tolist()) for part in parts]
    total = many.info(many.keys()[0]).band_samples
    assert all(len(part) < 0.6 * total for part in places) and len(set.union(*places)) > 0.95 * total


@pytest.mark.usefixtures("halves")
def test_batches_follow_from_seed_and_step_whatever_was_drawn_before(many: SampleStore) -> None:
    settings = _streaming(many, 5)
    through = ShapeSamplePool(many, many.keys(), settings, LossConfig())
    batches = [through.batch(step) for step in range(40)]
    for start in (0, 7, 30):
        resumed = ShapeSamplePool(many, many.keys(), settings, LossConfig())
        assert _same(resumed.batch(start), batches[start]) and _same(resumed.batch(start + 5), batches[start + 5])
    other = ShapeSamplePool(many, many.keys(), replace(settings, seed=1), LossConfig())
    assert not _same(other.batch(0), batches[0])


@pytest.mark.usefixtures("halves")
def test_processes_share_the_batch_of_one(many: SampleStore) -> None:
    for settings in (_streaming(many, 6), replace(TrainConfig(), shapes_per_batch=2, points_per_shape=8)):
        alone = ShapeSamplePool(many, many.keys(), replace(settings, shapes_per_batch=4), LossConfig())
        team = [ShapeSamplePool(many, many.keys(), settings, LossConfig(), rank=rank, world=2) for rank in range(2)]
        for step in (0, 1, 13):
            parts = [pool.batch(step) for pool in team]
            together = SdfBatch(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))
            assert _same(alone.batch(step), together)
    with pytest.raises(ls.StoreError, match="12 shapes to train on for 13 processes"):
        ShapeSamplePool(many, many.keys(), TrainConfig(), LossConfig(), world=13)


def test_what_fits_is_read_whole_and_every_shape_comes_once_a_pass(many: SampleStore) -> None:
    pool = ShapeSamplePool(
        many, many.keys(), replace(TrainConfig(), shapes_per_batch=4, points_per_shape=8), LossConfig()
    )
    assert not pool.streams and pool.slots == 12
    for lap in range(3):
        rows = torch.cat([pool.batch(3 * lap + step).shape for step in range(3)])
        assert sorted(rows.tolist()) == list(range(12))
    assert pool.nbytes == sum(part.nbytes for part in pool._parts)


def test_a_damaged_shape_that_streams_in_is_named(
    many: SampleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(many.path, tmp_path / "copy.zarr")
    store = SampleStore.open(tmp_path / "copy.zarr")
    monkeypatch.setattr("latentsdf.data.sample_pool.REFRESH_STEPS", 1)
    settings = _streaming(store, 5)
    pool = ShapeSamplePool(store, store.keys(), settings, LossConfig())
    pool.batch(0)
    for key in store:
        shutil.rmtree(store.path / "shapes" / key / "near" / "c")
    with pytest.raises(ls.StoreError, match=r"shape 'lamp/lamp_\d+' is damaged"):
        for step in range(1, 12):
            pool.batch(step)


def test_draws_have_the_shares_of_their_papers(many: SampleStore) -> None:
    rng = np.random.default_rng(0)
    for how, inside, near in (("signs", 0.5, None), ("near", None, 0.5)):
        shape = load_samples(many, many.keys()[0], 1.0, how, rng, lattice=True)  # type: ignore[arg-type]
        assert len(shape.band_index) == many.info(many.keys()[0]).band_samples + 17**3
        distance = shape.draw_offsurface(4000, how, rng)[:, 3]  # type: ignore[arg-type]
        _, band_distance = shape.draw_band(4000, how, rng)  # type: ignore[arg-type]
        for found in (distance.numpy(), band_distance.numpy()):
            if inside is not None:
                assert np.mean(found < 0) == inside
            if near is not None:
                # Half is drawn near; what is drawn by sign is near again at times.
                assert np.mean(np.abs(found) <= 0.1) >= near
                assert np.mean(found < 0) >= 0.25 and np.mean(found >= 0) >= 0.25
    assert torch.all(SampleStrata((0, 0, 5, 5)).draw(100, "signs", rng) < 5)  # nothing is inside


def test_half_of_a_band_is_drawn_beside_the_surface(many: SampleStore) -> None:
    rng, cell = np.random.default_rng(0), 2 / 32
    shape = load_samples(many, many.keys()[0], 1.0, "surface", rng)
    beside = (shape.band_distance.abs() <= cell).float().mean().item()
    _, distance = shape.draw_band(8000, "surface", rng)
    assert beside < 0.6 and torch.all(distance[4000:].abs() <= cell)
    assert (distance[:4000].abs() <= cell).float().mean().item() == pytest.approx(beside, abs=0.03)
    free = shape.draw_offsurface(8000, "surface", rng)[:, 3]  # these are drawn alike
    assert free.abs().mean().item() == pytest.approx(shape.offsurface[:, 3].abs().mean().item(), rel=0.05)


def test_samples_live_on_a_device_with_room_for_them(many: SampleStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed: torch's meta device stands in for one, of which the free memory is told."""
    settings, device = _streaming(many, 5), torch.device("meta")
    for room, holds in ((3, "meta"), (1, "cpu")):
        whole = sum(samples_nbytes(many, key, lattice=False) for key in many)
        monkeypatch.setattr("latentsdf.data.sample_pool.free_gpu_memory", lambda _, free=room * whole: free)
        pool = ShapeSamplePool(many, many.keys(), settings, LossConfig(), device=device)
        assert pool.streams == (holds == "cpu")
        pool.fill(0)
        assert {part.band_index.device.type for part in pool._parts} == {holds}
        pool.close()


def test_every_term_of_the_general_branch_gets_points_of_the_box(many: SampleStore) -> None:
    settings = replace(TrainConfig(), shapes_per_batch=2, points_per_shape=8)
    for term in ("eikonal", "directional_divergence", "lipschitz", "heat"):
        loss = LossConfig(**{term: 0.1, "regularizer_points": 7})  # type: ignore[arg-type]
        batch = ShapeSamplePool(many, many.keys(), settings, loss).batch(0)
        uniform, mixture = (0, 8) if term == "heat" else (7, 0)
        assert batch.box_points.shape == (2, uniform, 3) and batch.heat_points.shape == (2, mixture, 3)


@pytest.mark.parametrize("points", [False, True], ids=["sdf", "points"])
def test_the_heat_term_is_its_integral_over_the_box(points: bool, many: SampleStore) -> None:
    kind = "points" if points else "sdf"
    settings = TrainConfig(samples=kind, shapes_per_batch=1, points_per_shape=4, bf16=False)  # type: ignore[arg-type]
    loss = LossConfig(heat=1.0, heat_lambda=(4.0, 0.5, 4.0, 8.0), eikonal=1.0, regularizer_points=150_000)
    batch = ShapeSamplePool(many, many.keys(), settings, loss).batch(0)
    model = LatentSDF(ModelConfig(code_dim=1, warp=BranchConfig(width=0), overfit=BranchConfig(width=0)))
    model.branch = lambda *args, **_: 1.5 * (args[1].norm(dim=-1) - 0.5)  # type: ignore[method-assign]
    axis = (torch.arange(120) + 0.5) / 60 - 1
    distance = 1.5 * (torch.cartesian_prod(axis, axis, axis).norm(dim=-1) - 0.5)
    for progress, absorption in ((0.0, 4.0), (0.75, 6.0), (1.0, 8.0)):
        terms, _ = Objective(model, loss, settings)(batch, torch.zeros(1, 1), 1.0, progress)
        integral = 8 * (0.5 * torch.exp(-2 * absorption * distance.abs()) * (1.5**2 + 1)).mean().item()
        assert terms["heat"].item() == pytest.approx(integral, rel=0.015)
        assert terms["eikonal"].item() == pytest.approx(0.5, rel=1e-4)


def test_the_lattice_joins_the_band_at_its_own_places(many: SampleStore) -> None:
    key = many.keys()[0]
    shape = load_samples(many, key, 1.0, "near", np.random.default_rng(0), lattice=True)
    places = lattice_points(shape.band_index.numpy(), 32)
    on_lattice = np.flatnonzero(np.all(np.abs(places * 8 - np.rint(places * 8)) < 1e-6, axis=1))
    where = tuple(np.rint((places[on_lattice].T + 1) * 8).astype(int))
    np.testing.assert_allclose(shape.band_distance.numpy()[on_lattice], many.sparse_distance(key)[where], atol=2e-3)
    assert len(on_lattice) >= 17**3


def test_schedules_halve_and_ramp_by_passes() -> None:
    halving = replace(TrainConfig(), halve_epochs=100, warmup_steps=0)
    assert [learning_rate_factor(halving, 0, 0.0, epoch) for epoch in (0, 99.9, 100, 250)] == [1, 1, 0.5, 0.25]
    cosine = replace(TrainConfig(), lr_final=0.1, warmup_steps=10)
    assert learning_rate_factor(cosine, 4, 0.0, 0) == 0.5 and learning_rate_factor(cosine, 50, 1.0, 0) == pytest.approx(
        0.1
    )
    assert [ramp_up(epoch, 100) for epoch in (0, 50, 200)] == [0, 0.5, 1] and ramp_up(0, 0) == 1


def test_passes_end_a_run(store_path: Path, tmp_path: Path) -> None:
    train.train(store_path, tmp_path, small_config(steps=1000, epochs=3, shapes_per_batch=2, log_every=1), device="cpu")
    assert checkpoint.load_state(tmp_path)["step"] == 6


def test_codes_stay_within_their_bound(store_path: Path) -> None:
    run = new_trainer(store_path, small_config(code_std=2.0, code_bound=0.5, lr_code=0.0))
    assert run.codes.table.norm(dim=1).min() > 0.5
    run.train_step()
    torch.testing.assert_close(run.codes.table.norm(dim=1), torch.full((4,), 0.5))


def test_only_the_weights_that_codes_act_by_decay(store_path: Path) -> None:
    plain, decayed = (new_trainer(store_path, small_config(code_decay=decay)) for decay in (0.0, 100.0))
    start = {name: value.clone() for name, value in plain.model.named_parameters()}
    for run in (plain, decayed):
        run.train_step()
    rate = small_config().train.lr_network * learning_rate_factor(small_config().train, 0, 0.0, 0)
    by_code = {id(weight) for layer in decayed.model.conditioned_layers() for weight in layer.code_weights()}
    without = dict(plain.model.named_parameters())
    for name, value in decayed.model.named_parameters():
        lost = 100 * rate * start[name] if id(value) in by_code else 0.0
        torch.testing.assert_close(value, without[name] - lost)
    assert len(by_code) == 2 * len(decayed.model.conditioned_layers())


def _command(store: Path, out: Path, config: Config, *more: str) -> list[str]:
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(asdict(config)))
    words = ["train", "--data", str(store), "--out", str(out), "--config", str(path), "--device", "cpu", *more]
    return [sys.executable, "-m", "latentsdf", *words]


def _environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | more


def test_a_killed_run_resumes_as_if_never_stopped(store_path: Path, tmp_path: Path) -> None:
    config = small_config(steps=120, checkpoint_minutes=1e-6, points_per_shape=64, log_every=10)
    train.train(store_path, tmp_path / "through", config, device="cpu")
    process = subprocess.Popen(_command(store_path, tmp_path / "killed", config), env=_environment())
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "state.pt").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < checkpoint.load_state(tmp_path / "killed")["step"] < 120
    train.train(store_path, tmp_path / "killed", config, resume=True, device="cpu")
    for name in ("model.safetensors", "codes.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
    through, killed = (checkpoint.read_metrics(tmp_path / name) for name in ("through", "killed"))
    assert [line["loss"] for line in through] == [line["loss"] for line in killed]


def test_a_full_disk_is_named_and_leaves_the_checkpoint_before(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "space"
    train.train(store_path, out, small_config(steps=2), device="cpu")
    takes = sum((out / name).stat().st_size for name in ("model.safetensors", "codes.safetensors", "state.pt"))
    weights = (out / "model.safetensors").read_bytes()
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: usage._replace(free=int(0.9 * takes)))
        with pytest.raises(ls.CheckpointError, match=r"space: the disk is full: .* MB are free; .* --resume"):
            train.train(store_path, out, small_config(steps=4), resume=True, device="cpu")
    assert checkpoint.load_state(out)["step"] == 2 and (out / "model.safetensors").read_bytes() == weights


def test_state_repeats_neither_weights_nor_codes(space_path: Path) -> None:
    model = sum(value.nbytes for value in checkpoint.load(space_path).model.state_dict().values())
    state = checkpoint.load_state(space_path)
    assert set(state) == {"step", "seconds", "world", "network_adam", "grid_adam", "code_adam"}
    # One moment for each value of the grid and two for the rest, the second of a grid's row being one number.
    assert (space_path / "state.pt").stat().st_size < 2.1 * model


def test_two_processes_equal_one_with_the_doubled_batch(store_path: Path, tmp_path: Path) -> None:
    config = small_config(steps=12, shapes_per_batch=1, points_per_shape=128, bf16=False, log_every=1)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = torchrun + _command(store_path, tmp_path / "two", config, "--json")[1:]
    process = subprocess.Popen(command, env=_environment(OMP_NUM_THREADS="1"), stdout=subprocess.PIPE)
    doubled = replace(config, train=replace(config.train, shapes_per_batch=2))
    train.train(store_path, tmp_path / "one", doubled, device="cpu")
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    assert json.loads(printed)["step"] == 12  # one process speaks for both
    one, two = (checkpoint.load(tmp_path / name) for name in ("one", "two"))
    torch.testing.assert_close(two.codes, one.codes, atol=1e-5, rtol=1e-4)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value, atol=2e-5, rtol=1e-3, msg=name)
    first, second = (checkpoint.read_metrics(tmp_path / name) for name in ("one", "two"))
    assert [line["loss"] for line in second] == pytest.approx([line["loss"] for line in first], rel=1e-4)
    with pytest.raises(ls.CheckpointError, match="trained by 2 processes, now there are 1"):
        train.train(store_path, tmp_path / "two", config, resume=True, device="cpu")


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [distributed.local_device(name) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [distributed.local_device(name) for name in ("cpu", "cuda", "auto")] == ["cpu", "cuda:3", "cuda:3"]
    with pytest.raises(ls.ConfigError, match="4 processes cannot share cuda:1; with --device cuda each takes"):
        distributed.local_device("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert distributed.local_device("cuda:1") == "cuda:1"


@pytest.fixture(scope="module")
def more_tables(tmp_path_factory: pytest.TempPathFactory, store_path: Path) -> Path:
    """A store of the tables 2 to 5, of which 4 and 5 are new."""
    path = tmp_path_factory.mktemp("more") / "tables.zarr"
    sampling = SampleStore.open(store_path).config
    assert not preprocess(procedural(["table"], count=4, first_seed=2), path, sampling, workers=2).failed
    return path


def test_extending_learns_new_codes_and_leaves_the_rest_as_it_is(
    space_path: Path, more_tables: Path, tmp_path: Path
) -> None:
    before = files_of(space_path)
    command = ["train", "--extend", str(space_path), "--data", str(more_tables), "--out", str(tmp_path / "more")]
    assert cli.main([*command, "--steps", "100", "--device", "cpu", "--train.lr_code", "0.05"]) == 0
    assert files_of(space_path) == before
    assert (tmp_path / "more" / "model.safetensors").read_bytes() == before["model.safetensors"]
    old, new = checkpoint.load(space_path), checkpoint.load(tmp_path / "more")
    assert new.keys == [*old.keys, "table/table_0004", "table/table_0005"]
    assert torch.equal(new.codes[:4], old.codes)
    losses = [line["loss"] for line in checkpoint.read_metrics(tmp_path / "more")]
    assert losses[-1] < 0.9 * losses[0]
    assert new.similarities[5] == SampleStore.open(more_tables).info("table/table_0005").similarity
    with pytest.raises(ls.CheckpointError, match="state.pt is missing"):
        checkpoint.load_state(tmp_path / "more")
    assert cli.main(command) == 2  # There is a space in --out already.


def test_extending_with_fine_tuning_learns_the_networks_too(
    space_path: Path, more_tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--extend", str(space_path), "--data", str(more_tables), "--out", str(tmp_path / "more")]
    assert cli.main([*command, "--steps", "5", "--fine-tune", "--device", "cpu"]) == 0
    assert "no samples of 2 old shapes" in " ".join(capsys.readouterr().err.split())
    old, new = checkpoint.load(space_path), checkpoint.load(tmp_path / "more")
    assert torch.equal(new.codes[:2], old.codes[:2]) and not torch.equal(new.codes[2:4], old.codes[2:4])
    assert not torch.equal(new.model.general.last.weight, old.model.general.last.weight)


def test_extending_by_nothing_or_wrongly_is_refused(
    space_path: Path,
    store_path: Path,
    more_tables: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extend = ["train", "--extend", str(space_path), "--out", str(tmp_path / "x"), "--data"]
    for command, message in (
        ([*extend, str(store_path)], "all of its 4 shapes are in"),
        ([*extend, str(more_tables), "--model.code_dim", "4"], "extending keeps the model as it is"),
        ([*extend, str(more_tables), "--resume"], "--extend takes the settings of its space"),
        (["train", "--data", str(store_path), "--out", "x", "--fine-tune"], "--fine-tune goes with --extend"),
    ):
        assert cli.main(command) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main([*extend, str(more_tables)]) == 2
    assert "by one process" in " ".join(capsys.readouterr().err.split())


def test_extending_has_a_budget_of_its_own(space_path: Path, more_tables: Path, tmp_path: Path) -> None:
    shutil.copytree(space_path, tmp_path / "space")
    config = (tmp_path / "space" / "config.yaml").read_text()
    assert "epochs: 0\n  minutes: 0.0" in config
    changed = config.replace("epochs: 0\n  minutes: 0.0", "epochs: 1\n  minutes: 1.0e-9")
    (tmp_path / "space" / "config.yaml").write_text(changed)
    command = ["train", "--extend", str(tmp_path / "space"), "--data", str(more_tables), "--steps", "20"]
    assert cli.main([*command, "--out", str(tmp_path / "more"), "--device", "cpu"]) == 0
    assert checkpoint.read_metrics(tmp_path / "more")[-1]["step"] == 20
    assert len({path.stat().st_mode for path in (tmp_path / "more").glob("*.*")}) == 1  # who reads one reads all


def test_only_the_shape_whose_samples_are_bad_is_blamed(store_path: Path) -> None:
    run = new_trainer(store_path, small_config())
    run.train_step()
    run.pool._parts[2].offsurface[:, 3] = np.nan
    with pytest.raises(ls.TrainingError, match="step 1: the general term is not finite for table/table_0002. The last"):
        run.train_step()


@pytest.mark.parametrize("branch", ["general", "overfit"])
def test_only_the_shape_whose_code_is_bad_is_blamed(branch: Branch, store_path: Path) -> None:
    loss = LossConfig(code=1e-4, feature=1e-4, eikonal=0.01, regularizer_branch=branch, agreement=0.1)
    run = new_trainer(store_path, replace(small_config(), loss=loss))
    run.train_step()
    run.codes.table.data[2, 1] = np.nan
    with pytest.raises(
        ls.TrainingError, match=r"step 1: the .*code and .*general.* not finite for table/table_0002\. The"
    ):
        run.train_step()


def test_a_bad_weight_of_the_warp_is_the_fault_of_every_shape(store_path: Path) -> None:
    run = new_trainer(store_path, small_config())
    run.train_step()
    assert run.model.warp is not None
    next(run.model.warp.parameters()).data.view(-1)[0] = np.nan
    expected = r"the general and overfit term is not finite for (table/table_000\d(, )?){4}\. The last"
    with pytest.raises(ls.TrainingError, match=expected):
        run.train_step()


def test_the_estimate_counts_what_is_allocated(store_path: Path) -> None:
    config = small_config()
    run = new_trainer(store_path, config)
    run.train_step()
    need = memory_estimate.estimate_memory(config, run.pool)
    grid, table = run.grid_adam, run.model.grid
    assert grid is not None and table is not None
    assert need.grid == sum(x.nbytes for x in (table.table, grid.first, grid.second, grid.count)) + 4 * len(table.table)
    codes = run.code_adam
    assert need.codes == sum(x.nbytes for x in (codes.table, codes.first, codes.second, codes.count))
    assert need.networks == 4 * sum(p.nbytes for p in run.networks)
    assert need.samples == sum(part.nbytes for part in run.pool._parts)
    assert "MORE THAN IS FREE" not in memory_estimate.describe_run(config, run.pool)
    huge = replace(config, model=replace(config.model, grid=replace(config.model.grid, resolution=2000)))
    assert "MORE THAN IS FREE: lower train.memory_gb" in memory_estimate.describe_run(huge, run.pool)


def test_pictures_show_both_branches_of_the_first_shapes(store_path: Path, tmp_path: Path) -> None:
    run = new_trainer(store_path, small_config(picture_minutes=1e-9))
    for _ in range(60):
        run.train_step()
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    with open_training_logger(tmp_path, run.config.train, 0) as logger:
        logger.save_picture_if_due(run)
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "00000060.png"))
    rows = np.array_split(pixels, 2)
    assert pixels.shape[1] == 4 * 192 and all(row.min() < 200 for row in rows)
    assert all(torch.equal(value, weights[name]) for name, value in run.model.state_dict().items())
    assert run.model.training
    run.train_step()
    with open_training_logger(tmp_path, replace(run.config.train, picture_minutes=0.0), 0) as logger:
        logger.save_picture_if_due(run)
    assert len(list((tmp_path / "pictures").iterdir())) == 1


def test_a_field_without_surface_is_an_empty_picture(store_path: Path) -> None:
    run = new_trainer(store_path, small_config())
    torch.nn.init.zeros_(run.model.general.last.weight)
    torch.nn.init.ones_(run.model.general.last.bias)
    assert np.asarray(reconstructions(run))[:150].min() == 255


def test_tensorboard_gets_every_line_or_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(TrainConfig(), tensorboard=True)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    logger = open_training_logger(tmp_path, settings, 0)
    with pytest.raises(ls.MissingExtraError, match=r"pip install 'latentsdf\[tensorboard\]'"), logger:
        pass
    monkeypatch.undo()
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_training_logger(tmp_path, settings, 0) as logger:
        for step in (10, 20):
            logger.log({"step": step, "loss": 1 / step})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(10, pytest.approx(0.1)), (20, pytest.approx(0.05))]
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [10, 20]


@pytest.mark.parametrize("branch", ["general", "overfit"])
def test_every_regularizer_trains_on_either_branch(branch: str, store_path: Path) -> None:
    smooth = BranchConfig(width=24, depth=2, activation="softplus", frequencies=2)
    config = small_config(points_per_shape=64, bf16=False)
    config = replace(config, model=replace(config.model, general=smooth, overfit=smooth))
    weights = {"directional_divergence": 0.1, "lipschitz": 0.1, "eikonal": 0.1}
    loss = LossConfig(**weights, eikonal_norm="l2", code_prior="kl", code=0.01, regularizer_points=32)
    loss = replace(loss, regularizer_branch=branch)  # type: ignore[arg-type]
    run = new_trainer(store_path, replace(config, loss=loss))
    first = run.train_step()
    for _ in range(30):
        last = run.train_step()
    assert weights.keys() < first.keys() and all(np.isfinite(list(last.values())))
    assert last["loss"] < first["loss"]
    run.pool._parts[2].offsurface[:, 3] = np.nan
    with pytest.raises(ls.TrainingError, match="the general term is not finite for table/table_0002"):
        run.train_step()


def test_the_general_branch_learns_nothing_from_what_is_added_to_it(store_path: Path) -> None:
    config = small_config(free_share=0.25, code_decay=0.0)
    run = new_trainer(store_path, replace(config, loss=LossConfig(general=0, code=0)))
    start = {name: value.clone() for name, value in run.model.named_parameters()}
    for _ in range(3):
        run.train_step()
    moved = {name for name, value in run.model.named_parameters() if not torch.equal(value, start[name])}
    assert {name.split(".")[0] for name in moved} == {"overfit", "grid", "warp"}


def test_agreement_joins_the_branches_between_shapes_and_leaves_grid_and_codes(store_path: Path) -> None:
    config = small_config(points_per_shape=512, bf16=False, code_std=0.3)
    run = new_trainer(store_path, replace(config, loss=LossConfig(general=0, overfit=0, code=0, agreement=1)))
    table = run.model.require_grid().table.data.normal_(0, 0.3)
    before, codes = table.clone(), run.codes.table.detach().clone()
    terms = [run.train_step()["agreement"] for _ in range(80)]
    assert np.mean(terms[-10:]) < 0.5 * np.mean(terms[:10])
    assert torch.equal(table, before) and torch.equal(run.codes.table, codes)


@pytest.mark.parametrize("native", [True, False])
def test_products_are_in_bfloat16_where_the_device_has_them(
    native: bool, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = torch.bfloat16 if native else torch.float32
    monkeypatch.setattr(objective, "matmul_dtype", lambda device: kind if device.type == "cpu" else None)
    found = new_trainer(store_path, small_config(points_per_shape=64)).train_step()
    exact = new_trainer(store_path, small_config(points_per_shape=64, bf16=False)).train_step()
    assert found == pytest.approx(exact, rel=0.05) and (found == exact) is not native


def test_terms_on_one_branch_share_its_values_and_gradients(store_path: Path) -> None:
    config = small_config(points_per_shape=64, bf16=False)
    weights = {"heat": 0.3, "eikonal": 0.7}
    alone = {}
    for name, weight in weights.items():
        loss = LossConfig(**{name: weight}, regularizer_branch="overfit")
        alone[name] = new_trainer(store_path, replace(config, loss=loss)).train_step()[name]
    loss = LossConfig(**weights, regularizer_branch="overfit")
    together = new_trainer(store_path, replace(config, loss=loss)).train_step()
    assert {name: together[name] for name in weights} == pytest.approx(alone, rel=1e-6)
