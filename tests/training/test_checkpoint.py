"""Checkpoint folders."""

import shutil
from pathlib import Path

import pytest
from helpers.settings import small_config

import latentsdf as ls
from latentsdf.training import checkpoint, train


@pytest.mark.slow
def test_previous_checkpoint_after_full_disk(store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported before anything is written, and the previous checkpoint stays intact."""
    out = tmp_path / "space"
    train.train(store_path, out, small_config(steps=2), device="cpu")
    takes = sum((out / name).stat().st_size for name in ("model.safetensors", "codes.safetensors", "state.pt"))
    weights = (out / "model.safetensors").read_bytes()
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: usage._replace(free=int(0.9 * takes)))
        with pytest.raises(ls.CheckpointError, match=r"space: the disk is full: .* MB are free; .* --resume"):
            train.train(store_path, out, small_config(steps=4), resume=True, device="cpu")
    assert checkpoint.load_state(out)["step"] == 2 and (out / "model.safetensors").read_bytes() == weights


def test_contents_of_state(space_path: Path) -> None:
    """The state has moments and counters only."""
    model = sum(value.nbytes for value in checkpoint.load(space_path).model.state_dict().values())
    state = checkpoint.load_state(space_path)
    assert set(state) == {"step", "seconds", "world", "network_adam", "grid_adam", "code_adam"}
    # One moment for each value of the grid and two for the rest, the second of a grid's row being one number.
    assert (space_path / "state.pt").stat().st_size < 2.1 * model
