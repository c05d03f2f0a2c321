"""Metrics, TensorBoard events and images of a run."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.settings import small_config
from helpers.training import new_trainer
from PIL import Image

import latentsdf as ls
from latentsdf.config.training import Config, TrainConfig
from latentsdf.training.logger import open_training_logger, reconstructions


@pytest.mark.slow
def test_images_of_both_branches(store_path: Path, tmp_path: Path) -> None:
    """An image shows both branches of the first shapes and does not change the model."""
    run = new_trainer(store_path, small_config(image_minutes=1e-9))
    for _ in range(60):
        run.train_step()
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    with open_training_logger(tmp_path, run.config, 0) as logger:
        logger.save_image_if_due(run)
    pixels = np.asarray(Image.open(tmp_path / "pictures" / "00000060.png"))
    rows = np.array_split(pixels, 2)
    assert pixels.shape[1] == 4 * 192 and all(row.min() < 200 for row in rows)
    assert all(torch.equal(value, weights[name]) for name, value in run.model.state_dict().items())
    assert run.model.training
    run.train_step()
    without = replace(run.config, train=replace(run.config.train, image_minutes=0.0))
    with open_training_logger(tmp_path, without, 0) as logger:
        logger.save_image_if_due(run)
    assert len(list((tmp_path / "pictures").iterdir())) == 1


@pytest.mark.slow
def test_image_of_field_without_surface(store_path: Path) -> None:
    """A field without a surface is drawn as an empty image."""
    run = new_trainer(store_path, small_config())
    torch.nn.init.zeros_(run.model.general.last.weight)
    torch.nn.init.ones_(run.model.general.last.bias)
    assert np.asarray(reconstructions(run))[:150].min() == 255


def test_tensorboard_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard receives every line; without the package, the error names the extra."""
    settings = Config(train=TrainConfig(tensorboard=True))
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


def test_log_of_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that ends long before the step of the space is noticed; lines of later steps are removed."""
    config = Config(train=TrainConfig(log_every=10))
    for last, step in ((100, 105), (100, 95), (50, 105)):
        lines = [{"step": float(n), "seconds": 1.0} for n in range(10, last + 1, 10)]
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        with open_training_logger(tmp_path, config, step):
            pass
        kept = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert kept == [line for line in lines if line["step"] <= step]
        assert ("ends at step 50" in capsys.readouterr().err) is (last == 50)
