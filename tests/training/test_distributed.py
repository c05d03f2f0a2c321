"""Training by several processes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.settings import small_config
from helpers.training import subprocess_environment, train_command

import latentsdf as ls
from latentsdf.training import checkpoint, distributed, train


@pytest.mark.slow
def test_two_processes_equal_one_with_doubled_batch(store_path: Path, tmp_path: Path) -> None:
    """Two processes reach the parameters and losses of one process with twice the batch."""
    config = small_config(steps=12, shapes_per_batch=1, points_per_shape=128, bf16=False, log_every=1)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = torchrun + train_command(store_path, tmp_path / "two", config, "--json")[1:]
    process = subprocess.Popen(command, env=subprocess_environment(OMP_NUM_THREADS="1"), stdout=subprocess.PIPE)
    doubled = replace(config, train=replace(config.train, shapes_per_batch=2))
    train.train(store_path, tmp_path / "one", doubled, device="cpu")
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    assert json.loads(printed)["step"] == 12  # only rank 0 prints
    one, two = (checkpoint.load(tmp_path / name) for name in ("one", "two"))
    torch.testing.assert_close(two.codes, one.codes, atol=1e-5, rtol=1e-4)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value, atol=2e-5, rtol=1e-3, msg=name)
    first, second = (checkpoint.read_metrics(tmp_path / name) for name in ("one", "two"))
    assert [line["loss"] for line in second] == pytest.approx([line["loss"] for line in first], rel=1e-4)
    with pytest.raises(ls.CheckpointError, match="trained by 2 processes, now there are 1"):
        train.train(store_path, tmp_path / "two", config, resume=True, device="cpu")


def test_device_of_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torchrun, each process of a machine gets the GPU of its local rank."""
    assert [distributed.local_device(name) for name in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda", "cuda:1"]
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [distributed.local_device(name) for name in ("cpu", "cuda", "auto")] == ["cpu", "cuda:3", "cuda:3"]
    with pytest.raises(
        ls.ConfigError, match="4 processes cannot share cuda:1; with --device cuda each uses its own GPU"
    ):
        distributed.local_device("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert distributed.local_device("cuda:1") == "cuda:1"
