"""Checkpoint folders."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.artifacts import write_space
from helpers.settings import SMALL_SAMPLING, small_config

import latentsdf as ls
from latentsdf.evaluation.evaluate import evaluate
from latentsdf.geometry.mesh import clean
from latentsdf.training import checkpoint, train
from preprocessing import job
from preprocessing.sources import augmented, procedural


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


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_augmented_shapes(tmp_path: Path) -> None:
    """Deformed copies are marked in the checkpoint; retrieval and evaluation leave them out unless asked for."""
    chosen = augmented(procedural(["table"], count=2), 1)
    job.run(chosen, tmp_path / "s.zarr", SMALL_SAMPLING, workers=1)
    train.train(tmp_path / "s.zarr", tmp_path / "space", small_config(steps=60), device="cpu")
    listed = json.loads((tmp_path / "space" / "shapes.json").read_text())["shapes"]
    assert {s["key"]: s.get("augmented", False) for s in listed} == {s.key: "~" in s.id for s in chosen}
    space = ls.load(tmp_path / "space", device="cpu")
    assert space.augmented == ["table_0000~1", "table_0001~1"]
    space.save(tmp_path / "copy")
    assert ls.load(tmp_path / "copy", device="cpu").augmented == space.augmented
    assert sorted(space.nearest("table_0000~1", k=9).ids) == ["table_0000", "table_0001"]
    hits = space.nearest("table_0000~1", k=3, augmented=True)
    assert hits.ids[0] == "table_0000~1" and len(hits.ids) == 3 and hits.distances == sorted(hits.distances)
    references = {source.id: source.deformed(clean(source.load())[0]) for source in chosen[:2]}
    for included, names in ((False, ["table_0000"]), (True, ["table_0000", "table_0000~1"])):
        result, _ = evaluate(space, references, resolution=32, points=500, field_points=0, augmented=included)
        assert sorted([*result.shapes, *result.failed]) == ["table_0000", "table_0000~1"]
        assert ["pass --augmented" not in result.failed.get(name, "") for name in references] == [True, included]
        assert set(result.shapes) <= set(names)


def test_other_normalization(tmp_path: Path) -> None:
    """New shapes need the normalization of the space; the message says how to get it."""
    write_space(tmp_path, 1)
    loaded = checkpoint.load(tmp_path)
    loaded.require_normalization("sphere", "a.zarr", tmp_path)
    with pytest.raises(
        ls.CheckpointError, match=r"a\.zarr: its shapes have normalization 'cube'.*--normalization sphere"
    ):
        loaded.require_normalization("cube", "a.zarr", tmp_path)
