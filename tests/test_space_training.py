"""`ls.train`: losses, callbacks, sources, samplers and models of the user's own."""
# The interfaces prescribe methods and arguments, of which most test objects use only some.
# ruff: noqa: ARG002, ARG005, D102

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.plugins import install_plugin
from helpers.settings import FAST, small_config
from torch import nn

import latentsdf as ls
from latentsdf import cli
from latentsdf.config.loader import to_yaml
from latentsdf.training import checkpoint
from latentsdf.training.train import train as train_to_folder

TINY = small_config(steps=3, points_per_shape=64, log_every=1)
WEIGHTS = ("model.safetensors", "codes.safetensors")


def _small_codes(step: ls.TrainStep) -> torch.Tensor:
    return step.codes.square().mean()


class ConcatNetwork(nn.Module):
    """Signed distance of points and codes by one small network; not related to latentsdf."""

    def __init__(self, code_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3 + code_dim, 32), nn.Softplus(beta=30), nn.Linear(32, 1))

    def forward(self, points: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        each = codes[:, None].expand(-1, points.shape[1], -1)
        return points.norm(dim=-1) - 0.5 + self.layers(torch.cat((points, each), dim=-1)).squeeze(-1)


class Balls:
    """Balls of given radii, sampled when a batch is drawn."""

    normalization = "none"

    def __init__(self, radii: Sequence[float], count: int = 64) -> None:
        self.radii, self.count = np.array(radii), count
        self.ids = [f"ball_{i}" for i in range(len(radii))]
        self.closed = False

    def batch(self, step: int, rng: np.random.Generator) -> ls.SourceBatch:
        rows = rng.permutation(len(self.radii))[:2]
        near = rng.normal(size=(2, self.count, 3))
        near *= self.radii[rows, None, None] / np.linalg.norm(near, axis=-1, keepdims=True)
        near += rng.normal(scale=0.02, size=near.shape)
        return ls.SourceBatch(rows, self._signed(near, rows), self._signed(rng.uniform(-1, 1, near.shape), rows))

    def _signed(self, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.dstack((points, np.linalg.norm(points, axis=-1) - self.radii[rows, None]))

    def close(self) -> None:
        self.closed = True


def _bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in WEIGHTS]


@pytest.mark.slow
def test_equality_with_training_to_folder(store_path: Path, tmp_path: Path) -> None:
    """Without extensions, and with a loss of weight 0, the space is that of the command, bit for bit."""
    train_to_folder(store_path, tmp_path / "command", TINY, device="cpu")
    space = ls.train(ls.SampleStore.open(store_path), TINY, out=tmp_path / "python", device="cpu")
    assert space.ids == [f"table_{i:04d}" for i in range(4)] and isinstance(space, ls.ShapeSpace)
    ls.train(store_path, TINY, out=tmp_path / "zero", losses={"mine": (_small_codes, 0.0)}, device="cpu")
    assert _bytes(tmp_path / "command") == _bytes(tmp_path / "python") == _bytes(tmp_path / "zero")


@pytest.mark.slow
def test_own_loss_equals_built_in_loss(store_path: Path, tmp_path: Path) -> None:
    """A loss of one's own that repeats the data term on the same samples has its gradient and its value."""

    def general(step: ls.TrainStep) -> torch.Tensor:
        free = step.points.shape[1] - step.band_points.shape[1]
        wrong = (step.distance() - step.target).abs()
        return wrong[:, :free].mean() + wrong[:, free : 2 * free].mean()

    only = ls.LossConfig(general=0.0, overfit=0.0)
    config = replace(TINY, train=replace(TINY.train, bf16=False))
    ours = replace(config, loss=replace(only, general=(1.0,)))
    train_to_folder(store_path, tmp_path / "built-in", ours, device="cpu")
    ls.train(store_path, replace(config, loss=only), out=tmp_path / "own", losses={"mine": general}, device="cpu")
    for built_in, own in zip(*(checkpoint.read_metrics(tmp_path / n) for n in ("built-in", "own")), strict=True):
        assert own["mine"] == pytest.approx(built_in["general"], rel=1e-4)
        assert own["loss"] == pytest.approx(built_in["loss"], rel=1e-4)
    one, other = (ls.load(tmp_path / name, "cpu").codes for name in ("built-in", "own"))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_own_losses_of_step(store_path: Path, tmp_path: Path) -> None:
    """Losses see keys, points, codes, distances of both branches and gradients; schedules apply; weights are saved."""
    seen: list[Any] = []

    def eikonal(step: ls.TrainStep) -> torch.Tensor:
        box = torch.rand(len(step.codes), 16, 3) * 2 - 1
        seen.append((step.keys, step.points.shape, step.target.shape, step.band_points.shape))
        return (step.gradient(box).norm(dim=-1) - 1).square().mean() + step.gradient(branch="overfit").square().mean()

    losses = {"my_eikonal": (eikonal, (1.0, 0.5, 0.0, 0.0)), "codes": _small_codes}
    ls.train(store_path, replace(TINY, train=replace(TINY.train, steps=4)), out=tmp_path, losses=losses, device="cpu")
    metrics = checkpoint.read_metrics(tmp_path)
    assert ["my_eikonal" in line for line in metrics] == [True, True, False, False]
    assert all("codes" in line and np.isfinite(line["loss"]) for line in metrics)
    assert sorted(seen[0][0]) == [f"table/table_{i:04d}" for i in range(4)]
    assert [tuple(shape) for shape in seen[0][1:]] == [(4, 96, 3), (4, 96), (4, 64, 3)]
    assert checkpoint.load_config(tmp_path).loss.extra == {"my_eikonal": (1.0, 0.5, 0.0, 0.0), "codes": (1.0,)}


@pytest.mark.slow
def test_resumption_with_own_loss(store_path: Path, tmp_path: Path) -> None:
    """A resumed run with the same losses equals an uninterrupted one; another weight or a missing loss is refused."""
    losses = {"mine": (_small_codes, 0.5)}
    ls.train(store_path, TINY, out=tmp_path / "through", losses=losses, device="cpu")

    def stop_early(run: Any, metrics: dict[str, float]) -> None:
        if metrics["step"] == 2:
            run.stop()

    ls.train(store_path, TINY, out=tmp_path / "parts", losses=losses, callbacks=[stop_early], device="cpu")
    assert checkpoint.load_state(tmp_path / "parts")["step"] == 2
    with pytest.raises(ls.ConfigError, match=r"no loss named 'mine': pass the function, ls.train\(losses="):
        ls.train(store_path, out=tmp_path / "parts", resume=True)
    with pytest.raises(ls.CheckpointError, match=r"loss.extra.mine \(0.5 -> 0.1\)"):
        ls.train(store_path, out=tmp_path / "parts", losses={"mine": (_small_codes, 0.1)}, resume=True)
    with pytest.raises(ls.CheckpointError, match=r"loss.extra.mine \(0.5 -> None\)"):
        ls.train(store_path, TINY, out=tmp_path / "parts", resume=True)
    ls.train(store_path, out=tmp_path / "parts", losses={"mine": _small_codes}, resume=True, device="cpu")
    assert _bytes(tmp_path / "parts") == _bytes(tmp_path / "through")


@pytest.mark.usefixtures("without_shape_checks")
def test_unusable_losses(store_path: Path, tmp_path: Path) -> None:
    """A term that is not finite is named, and what is no loss is refused before anything is written."""
    losses = {"mine": lambda step: step.codes.mean() * float("nan")}
    with pytest.raises(ls.TrainingError, match="the mine term is not finite"):
        ls.train(store_path, TINY, out=tmp_path / "space", losses=losses, device="cpu")
    with pytest.raises(ls.ConfigError, match=r"losses\['mine'\] must be a function of a TrainStep.*got int"):
        ls.train(store_path, TINY, out=tmp_path / "none", losses={"mine": 3})  # type: ignore[dict-item]
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_callbacks(store_path: Path, tmp_path: Path) -> None:
    """Events arrive in order with the run and the metrics, for objects, subclasses and functions."""
    events: list[Any] = []

    class Log(ls.Callback):
        def on_start(self, run: Any) -> None:
            events.append(("start", run.step, len(run.keys)))

        def on_checkpoint(self, run: Any, folder: Path) -> None:
            events.append(("checkpoint", run.step, (folder / "model.safetensors").is_file()))

        def on_end(self, run: Any, metrics: dict[str, float]) -> None:
            events.append(("end", metrics["step"], run.progress()))

    def function(run: Any, metrics: dict[str, float]) -> None:
        events.append(("step", run.step, metrics["loss"]))

    ls.train(store_path, TINY, out=tmp_path, callbacks=[Log(), function], device="cpu")
    losses = [line["loss"] for line in checkpoint.read_metrics(tmp_path)]
    steps = [("step", i + 1, loss) for i, loss in enumerate(losses)]
    assert events == [("start", 0, 4), *steps, ("checkpoint", 3, True), ("end", 3, 1.0)]


@pytest.mark.usefixtures("without_shape_checks")
def test_failing_callbacks(store_path: Path, tmp_path: Path) -> None:
    """An exception of a callback ends the run, and what is no callback is refused before it."""

    def upload(*_: Any) -> None:
        raise OSError("no network")

    with pytest.raises(ls.TrainingError, match=r"step 1: the callback .*upload failed in on_step: OSError: no network"):
        ls.train(store_path, TINY, out=tmp_path / "a", callbacks=[upload], device="cpu")
    with pytest.raises(ls.ConfigError, match="int is neither"):
        ls.train(store_path, TINY, out=tmp_path / "b", callbacks=[3])
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
def test_own_source(tmp_path: Path) -> None:
    """A space learns shapes that its source computes; ids, normalization and reproducibility are those of a store."""
    config = small_config(steps=150, log_every=50)
    source = Balls([0.3, 0.45, 0.6], count=128)
    space = ls.train(config=config, out=tmp_path / "balls", source=source, device="cpu")
    assert space.ids == source.ids and space.keys[0] == "shape/ball_0" and source.closed
    assert space.normalization == "none"
    for name, radius in zip(source.ids, source.radii, strict=True):
        radii = np.linalg.norm(space.extract(name, 64).vertices, axis=1)
        assert abs(radii.mean() - radius) < 0.04
    ls.train(config=TINY, out=tmp_path / "one", source=Balls([0.3, 0.45, 0.6]), device="cpu")
    ls.train(config=TINY, out=tmp_path / "two", source=Balls([0.3, 0.45, 0.6]), device="cpu")
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


@pytest.mark.slow
def test_own_model(store_path: Path, tmp_path: Path) -> None:
    """A network of one's own is trained, saved, opened with the model only, decoded, fitted and interpolated."""
    torch.manual_seed(0)
    network = ConcatNetwork(8)
    before = [p.detach().clone() for p in network.parameters()]
    out = tmp_path / "space"
    space = ls.train(store_path, small_config(steps=30, points_per_shape=64), out=out, model=network, device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    with pytest.raises(ls.CheckpointError, match=r"model of your own, .*ConcatNetwork, which.*load\(folder, model="):
        ls.load(out)
    assert cli.main(["info", str(out)]) == 2
    with pytest.raises(ls.CheckpointError, match=r"does not match the given model: .*pass the model that was trained"):
        ls.load(out, model=ConcatNetwork(4))
    loaded = ls.load(out, "cpu", model=lambda config: ConcatNetwork(config.code_dim))
    mesh = loaded.extract("table_0000", 32)
    assert np.array_equal(mesh.vertices, space.extract("table_0000", 32).vertices)
    ls.train(store_path, small_config(steps=31, points_per_shape=64), out=out, model=network, resume=True, device="cpu")
    target = space.extract("table_0001", 64)
    fit = space.invert(target, FAST)
    assert fit.layers is None and np.abs(fit.code - space.mean()).max() > 1e-3
    far = space.distance(space.mean(), target.vertices[::50])
    assert len(space.interpolate("table_0000", fit, steps=3, method="shortest")) == 3
    assert np.isfinite(far).all()
    with pytest.raises(ls.ConfigError, match="no grid to refine"):
        space.invert(target, FAST, refinement=ls.RefineConfig(budget_kb=0, steps=1))


def test_model_not_needed(space_path: Path) -> None:
    """A model for a space that was trained without one is refused."""
    with pytest.raises(ls.CheckpointError, match="was not trained with a model of your own; leave model out"):
        ls.load(space_path, model=ConcatNetwork(8))


@pytest.mark.slow
def test_installed_extensions(store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, samplers and sources of an installed package are found by name, from Python and from the command."""
    install_plugin(tmp_path / "site", monkeypatch)
    config = replace(TINY, loss=ls.LossConfig(extra={"small_codes": 0.5}), train=replace(TINY.train, sampler="first"))
    ls.train(store_path, config, out=tmp_path / "python", device="cpu")
    assert "small_codes" in checkpoint.read_metrics(tmp_path / "python")[-1]
    (tmp_path / "tiny.yaml").write_text(to_yaml(TINY))
    words = ["train", "--config", str(tmp_path / "tiny.yaml"), "--device", "cpu"]
    more = ["--loss.extra", "{small_codes: 0.5}", "--train.sampler", "first"]
    assert cli.main([*words, "--data", str(store_path), "--out", str(tmp_path / "command"), *more]) == 0
    assert _bytes(tmp_path / "command") == _bytes(tmp_path / "python")
    (tmp_path / "radii.txt").write_text("0.3\n0.5\n")
    more = ["--data", str(tmp_path / "radii.txt"), "--train.source", "balls"]
    assert cli.main([*words, *more, "--out", str(tmp_path / "balls")]) == 0
    assert json.loads((tmp_path / "balls" / "shapes.json").read_text())["shapes"][1]["key"] == "shape/ball_1"
    assert cli.main([*words, *more, "--out", str(tmp_path / "no"), "--train.source", "cubes"]) == 2


@pytest.mark.slow
def test_own_sampler(store_path: Path, tmp_path: Path) -> None:
    """A sampler receives distances and chooses the samples; indices that do not exist are refused."""
    calls: list[int] = []

    def inside(distance: torch.Tensor, count: int, rng: np.random.Generator) -> np.ndarray:
        calls.append(count)
        return rng.choice(np.flatnonzero(distance.numpy() < 0), count)

    def only_inside(step: ls.TrainStep) -> torch.Tensor:
        assert (step.target < 0).all()
        return step.codes.mean()

    ls.train(store_path, TINY, out=tmp_path / "a", sampler=inside, losses={"check": only_inside}, device="cpu")
    assert set(calls) == {64, 32}
    for sampler, message in (
        (lambda distance, count, rng: [len(distance)] * count, "must return indices from 0 to"),
        (lambda distance, count, rng: None, "must return 64 integer indices, got None"),
        (lambda distance, count, rng: np.zeros(3), "must return 64 integer indices, got torch.float64"),
        (lambda distance, count, rng: 1 / 0, "the sampler '<lambda>' failed: ZeroDivisionError"),
    ):
        with pytest.raises(ls.ConfigError, match=message):
            ls.train(store_path, TINY, out=tmp_path / "b", sampler=sampler, overwrite=True, device="cpu")
