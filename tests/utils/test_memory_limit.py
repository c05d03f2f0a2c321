"""Refusal of what cannot fit into memory."""

from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn

from latentsdf.utils.errors import ConfigError
from latentsdf.utils.memory_limit import require_memory, training_bytes

CPU = torch.device("cpu")


def test_limit_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as the machine has is accepted, and more is refused with both sizes and the advice."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=4_000_000_000))
    require_memory(4_000_000_000, "the model", CPU, "lower model.width")
    with pytest.raises(ConfigError, match=r"^the model needs about 4.2 GB, but cpu has 4.0 GB; lower model.width$"):
        require_memory(4_200_000_000, "the model", CPU, "lower model.width")


def test_limit_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a GPU its own memory counts, not that of the machine."""
    properties = SimpleNamespace(total_memory=1_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    with pytest.raises(ConfigError, match="cuda:0 has 1.0 GB"):
        require_memory(1_000_000_001, "the model", torch.device("cuda:0"), "lower it")


def test_bytes_of_training() -> None:
    """A trained float32 parameter takes value, gradient and two moments; absent modules take nothing."""
    layer = nn.Linear(3, 5, device="meta")  # 15 weights and 5 biases
    assert training_bytes(layer, None) == 20 * 4 * 4
    assert training_bytes(layer, nn.Linear(1, 1)) == 22 * 4 * 4
    assert training_bytes() == 0
