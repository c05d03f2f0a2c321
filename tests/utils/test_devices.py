"""Selection of torch devices."""

import subprocess
import sys

import pytest
import torch

from latentsdf.utils.devices import free_gpu_memory, matmul_dtype, resolve, without_values
from latentsdf.utils.errors import ConfigError


def test_available_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` selects CUDA only if it is available; names and devices are accepted."""
    assert resolve("cpu") == resolve(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="device 'cuda:2' is not available: torch finds 2 CUDA devices"):
        resolve("cuda:2")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device 'mps' is not available: it needs a Mac"):
        resolve("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve("mps") == torch.device("mps") and matmul_dtype(resolve("mps")) == torch.float32


@pytest.mark.parametrize("name", ["gpu", "meta", "", "cuda:x"])
def test_unknown_device(name: str) -> None:
    """Names other than auto, cpu, cuda, cuda:N and mps are rejected."""
    with pytest.raises(ConfigError, match=f"unknown device '{name}'; devices are auto, cpu, cuda, cuda:N and mps"):
        resolve(name)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_cpu_matmul_dtype(features: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUs with AVX512-BF16 or AMX multiply in bfloat16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert matmul_dtype(torch.device("cpu")) == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_gpu_matmul_dtype(capability: tuple[int, int], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs of compute capability 8.0 or higher multiply in bfloat16."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert matmul_dtype(torch.device("cuda")) == expected


def test_free_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free memory is reported for GPUs only."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (5, 10))
    assert free_gpu_memory(torch.device("cuda")) == 5 and free_gpu_memory(torch.device("cpu")) == 0


def test_modules_without_values() -> None:
    """Modules that are built without values have shapes and no memory; random numbers are drawn again afterwards."""
    with without_values():
        layer = torch.nn.Linear(3, 4)
        torch.nn.init.normal_(layer.bias)
        torch.nn.init.zeros_(layer.bias)
        drawn = layer.weight.data.normal_()
    assert layer.weight.shape == drawn.shape == (4, 3) and layer.weight.is_meta and layer.bias.is_meta
    assert torch.nn.Linear(3, 4).weight.norm() > 0


@pytest.mark.slow
def test_modules_without_values_need_no_compiler() -> None:
    """Reading a space does not import the compiler of torch, which would take seconds."""
    code = (
        "import sys, latentsdf as ls\n"
        "from latentsdf.models.latent_sdf import LatentSDF\n"
        "from latentsdf.utils.devices import without_values\n"
        "with without_values():\n    LatentSDF(ls.ModelConfig())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
