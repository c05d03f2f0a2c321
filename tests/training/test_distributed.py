"""Training by several processes."""

import json
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
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


@pytest.mark.slow
def test_two_nodes_with_a_killed_worker(store_path: Path, tmp_path: Path) -> None:
    """Two nodes continue from the last checkpoint after a worker was killed, with the losses of one process.

    The nodes are two agents of torchrun on two loopback addresses, with one worker each.
    """
    config = small_config(
        steps=40, shapes_per_batch=1, points_per_shape=128, bf16=False, log_every=1, checkpoint_minutes=1e-3
    )
    out, port = tmp_path / "nodes", _free_port()
    train_words = train_command(store_path, out, config, "--resume")[1:]
    nodes = []
    for node in (0, 1):
        agent = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--monitor-interval", "0.1"]
        agent += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test"]
        agent += ["--rdzv-conf", f"is_host={1 - node},join_timeout=120", "--local-addr", f"127.0.0.{node + 1}"]
        command = [sys.executable, "-m", "torch.distributed.run", *agent, *train_words]
        environment = subprocess_environment(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
        with (tmp_path / f"{node}.log").open("w") as log:
            nodes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    try:
        while not (out / "model.safetensors").is_file() or _last_step(out) < 5:
            assert all(node.poll() is None for node in nodes), _logs(tmp_path)
            time.sleep(0.02)
        (worker,) = psutil.Process(nodes[1].pid).children()
        worker.kill()
        reached = _last_step(out)
        train.train(
            store_path,
            tmp_path / "one",
            replace(config, train=replace(config.train, shapes_per_batch=2, checkpoint_minutes=2.0)),
            device="cpu",
        )
        assert [node.wait(timeout=200) for node in nodes] == [0, 0], _logs(tmp_path)
    finally:
        for node in nodes:
            node.kill()
    assert reached < 40 and "starts from the beginning" in _logs(tmp_path)
    one, two = (checkpoint.read_metrics(tmp_path / name) for name in ("one", "nodes"))
    assert [line["step"] for line in two] == [line["step"] for line in one]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-3)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _last_step(out: Path) -> int:
    """Last complete line of the metrics."""
    try:
        lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    return max((int(json.loads(line)["step"]) for line in lines if line.endswith("\n")), default=0)


def _logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))


def test_resume_without_a_checkpoint(store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only under torchrun does a run without a checkpoint start from the beginning with `resume`."""
    config = small_config(steps=1, shapes_per_batch=1, points_per_shape=32)
    with pytest.raises((ls.CheckpointError, FileNotFoundError)):
        train.train(store_path, tmp_path / "run", config, resume=True, device="cpu")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    assert train.train(store_path, tmp_path / "run", config, resume=True, device="cpu")["step"] == 1
    other = replace(config, train=replace(config.train, points_per_shape=16))
    with pytest.raises(ls.CheckpointError, match="points_per_shape"):
        train.train(store_path, tmp_path / "run", other, resume=True, device="cpu")


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
