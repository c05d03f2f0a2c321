"""Training runs from a store to a checkpoint."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from helpers.settings import small_config
from helpers.training import subprocess_environment, train_command

from latentsdf.training import checkpoint, train


@pytest.mark.slow
def test_end_of_run_by_epochs(store_path: Path, tmp_path: Path) -> None:
    """A run ends after `train.epochs` passes."""
    train.train(store_path, tmp_path, small_config(steps=1000, epochs=3, shapes_per_batch=2, log_every=1), device="cpu")
    assert checkpoint.load_state(tmp_path)["step"] == 6


@pytest.mark.slow
def test_resumption_of_killed_run(store_path: Path, tmp_path: Path) -> None:
    """A run killed between steps and resumed equals an uninterrupted one, bit for bit."""
    config = small_config(steps=40, checkpoint_minutes=1e-6, points_per_shape=64, log_every=10)
    train.train(store_path, tmp_path / "through", config, device="cpu")
    process = subprocess.Popen(train_command(store_path, tmp_path / "killed", config), env=subprocess_environment())
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "state.pt").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < checkpoint.load_state(tmp_path / "killed")["step"] < 40
    train.train(store_path, tmp_path / "killed", config, resume=True, device="cpu")
    for name in ("model.safetensors", "codes.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
    through, killed = (checkpoint.read_metrics(tmp_path / name) for name in ("through", "killed"))
    assert [line["loss"] for line in through] == [line["loss"] for line in killed]
