"""`latentsdf doctor`: what it finds on this machine, and what it says about machines that need mending."""

import importlib.metadata
import json
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from helpers.paths import REPOSITORY

from latentsdf import cli
from latentsdf.cli import installation, kernels
from latentsdf.utils import cgroup

Usage = namedtuple("Usage", "free")


def _found(check: Callable[[], Iterator[installation.Check]]) -> installation.Check:
    return next(iter(check()))


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """This machine passes; the JSON has each check with its status, and the text the same."""
    assert cli.main(["doctor", "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["ok"] and result["errors"] == []
    names = [check["name"] for check in result["checks"]]
    assert names[:5] == ["Python", "packages", "processor", "memory", "disk"] and "kernels" in names
    assert all(f"{check['name']}: {check['found']}" in printed.err for check in result["checks"])
    assert {check["status"] for check in result["checks"]} <= {"ok", "note"}


def test_failing_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An error gives exit code 1, and a check that fails itself does not end the report."""
    monkeypatch.setattr(installation, "_retrieval", _broken)
    assert cli.main(["doctor", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["errors"] == ["broken"] and len(result["checks"]) == 9


def _broken() -> Iterator[installation.Check]:
    raise ImportError("libfaiss.so")
    yield


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or too old package is an error; a version that is allowed but not tested, a note."""
    versions = {"numpy": "2.0.0", "torch": "1.0+cpu", "rich": "99"}
    requirements = ["numpy<3,>=2", "torch>=2.11", "rich>=13", "absent>=1", 'faiss-cpu>=1; extra == "cpu"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: requirements)

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    broken = _found(installation._packages)
    assert (broken.status, broken.found) == ("error", "torch 1.0+cpu is not >=2.11; absent is missing")
    requirements[:] = ["numpy<3,>=2"]
    other = _found(installation._packages)
    pin = installation.tested_versions()["numpy"]
    assert (other.status, other.found) == ("note", f"numpy 2.0.0 (tested: {pin})")
    versions["numpy"] = pin + "+local"
    assert _found(installation._packages).status == "ok"


def test_tested_versions() -> None:
    """All pins of constraints.txt are read; required packages have one."""
    pins = installation.tested_versions()
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert len(pins) == sum("==" in line and not line.startswith("#") for line in lines)
    assert {"torch", "numpy", "lazy-loader", "packaging"} <= pins.keys()


def test_little_memory_and_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small container and a full disk are named, with what to do."""
    monkeypatch.setattr(installation, "memory_limit", lambda: 2_000_000_000)
    memory = _found(installation._memory)
    assert memory.status == "note" and memory.found.startswith("2.0 GB") and "limited by the container" in memory.found
    assert "--workers 1" in memory.mend
    monkeypatch.setattr(installation, "memory_limit", lambda: None)
    machine = SimpleNamespace(total=64e9, available=32e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    assert _found(installation._memory).found == "64.0 GB, 32.0 GB of the machine free"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1e9))
    assert _found(installation._disk).status == "note"


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads than the container's share of the processor, and far fewer than cores, are notes."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    monkeypatch.setattr(installation, "cpu_limit", lambda: 2.0)
    monkeypatch.setattr(installation.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    many = _found(installation._processor)
    assert many.status == "note" and many.found.startswith("2 usable cores") and "OMP_NUM_THREADS=2" in many.mend
    monkeypatch.setattr(installation, "cpu_limit", lambda: None)
    assert _found(installation._processor).status == "ok"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert "unset OMP_NUM_THREADS" in _found(installation._processor).mend


def test_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU for which torch has code is fine, another one an error, and a driver without a CUDA build a note."""
    device = SimpleNamespace(major=8, minor=6, name="A40", total_memory=48e9)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    for archs, status in ((["sm_80"], "ok"), (["compute_70"], "ok"), (["sm_90a"], "error"), (["sm_75"], "error")):
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda archs=archs: archs)
        assert _found(installation._gpu).status == status
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    assert "built without CUDA" in _found(installation._gpu).mend


def test_both_kinds_of_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU and the GPU package together are an error; none is a note."""
    monkeypatch.setattr(installation, "_is_installed", lambda _: True)
    assert _found(installation._retrieval).status == "error"
    monkeypatch.setattr(installation, "_is_installed", lambda _: False)
    assert "latentsdf[cpu]" in _found(installation._retrieval).mend


def test_no_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a writable cache folder, the check names the variable to set."""
    kernel = SimpleNamespace(signatures=[], stats=SimpleNamespace(cache_path=None), py_func=None)
    monkeypatch.setattr(kernels, "needed_kernels", lambda: [kernel])
    check: Any = _found(installation._kernels)
    assert check.status == "note" and check.found == "0 of 1 compiled" and "NUMBA_CACHE_DIR" in check.mend


def test_limits_of_container(tmp_path: Path) -> None:
    """Limits are read from control groups of both versions; the smallest counts, and none is None."""
    assert cgroup.memory_limit(tmp_path) is None and cgroup.cpu_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cgroup.memory_limit(tmp_path) is None and cgroup.cpu_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("8000000000\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    for folder in ("memory", "cpu"):
        (tmp_path / folder).mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cgroup.memory_limit(tmp_path) == 8_000_000_000 and cgroup.cpu_limit(tmp_path) == 1.5
