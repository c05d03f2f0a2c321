"""float64 where a device has it, and what is computed without it."""

import pytest
import torch

from latentsdf.models.derivatives import norm
from latentsdf.utils import precision
from latentsdf.utils.precision import has_float64, widened, widest
from latentsdf.utils.torch_lattice import vertex_positions


def test_devices_with_float64() -> None:
    """CPU and CUDA have float64, and mps has not."""
    assert has_float64(torch.device("cpu")) and has_float64(torch.device("cuda:1"))
    assert not has_float64(torch.device("mps"))


def test_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values become float64 and keep their gradient; without float64, sums of squares stay in float32."""
    values = torch.tensor([3.0, 4.0], requires_grad=True)
    assert widened(values).dtype == widest(values).dtype == torch.float64
    assert widened(torch.tensor(3)).dtype == torch.float64
    widened(values).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [1, 1]
    monkeypatch.setattr(precision, "has_float64", lambda _: False)
    assert widened(values).dtype == torch.float64 and widened(values).device.type == "cpu"
    assert widest(values).dtype == torch.float32
    assert norm(values[None]).tolist() == [5]
    assert vertex_positions(torch.tensor([0, 1, 4]), 4).tolist() == [-1, -0.5, 1]
