"""Writing of .safetensors files."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file

from latentsdf.utils.safetensors_io import save_tensors


def test_round_trip(tmp_path: Path) -> None:
    """Views and tensors with gradients are written with their values."""
    grid = torch.arange(6.0).reshape(2, 3).requires_grad_()
    path = tmp_path / "model.safetensors"
    save_tensors({"grid": grid, "transposed": grid.T}, path)
    loaded = load_file(path)
    assert torch.equal(loaded["grid"], grid) and torch.equal(loaded["transposed"], grid.T)


def test_permissions(tmp_path: Path) -> None:
    """Files are as readable as other new files, and existing files keep their permissions."""
    path = tmp_path / "model.safetensors"
    previous = os.umask(0o022)
    try:
        save_tensors({"code": torch.zeros(3)}, path)
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o600)
    save_tensors({"code": torch.ones(3)}, path)
    assert path.stat().st_mode & 0o777 == 0o600 and load_file(path)["code"].sum() == 3
