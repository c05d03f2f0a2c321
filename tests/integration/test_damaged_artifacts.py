"""Flipped bits and cuts of every file of every artifact: noticed by name, or harmless, and never a traceback.

`LATENTSDF_TORTURE=1000` sets the number of flips of each file of the slow test (`make torture`).
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.artifacts import ARTIFACTS, read_fit, refined_fit, write_space
from helpers.files import files_of, renew_manifest

import latentsdf as ls
from latentsdf.data.store import SampleStore
from latentsdf.latent.inversion.delta import Delta
from latentsdf.latent.inversion.deltas import parse_delta
from latentsdf.training import checkpoint
from latentsdf.training.logger import open_training_logger
from latentsdf.utils.errors import LatentSDFError

FLIPS = 100
"""Of each file; fewer where YAML makes reading slow, which the slow test flips more often."""
TORTURE = int(os.environ.get("LATENTSDF_TORTURE", "100"))
ALTERED = ("refined fit over refined", "index", "unfinished reconstruction", "space", "field")
"""Artifacts whose files are altered."""
UNREAD = ("README.md", "mesh.ply")
"""Files that reading an artifact leaves alone."""
WHOLE = {
    "refined fit over refined": ["code.npy", "delta.npz", "layers.npy", "manifest.json", "report.json"],
    "index": ["index_l2/added.npy", "index_l2/changes.json", "index_l2/manifest.json"],
    "unfinished reconstruction": ["unfinished.pt"],
    "space": ["codes.safetensors", "config.yaml", "manifest.json", "model.safetensors", "shapes.json", "state.pt"],
    "field": ["config.yaml", "field.json", "field.safetensors", "manifest.json"],
}
FILES = [(name, file) for name in ALTERED for file in WHOLE[name]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of undamaged artifacts, by name."""
    folders = {}
    for name in ALTERED:
        folders[name] = tmp_path_factory.mktemp("whole")
        ARTIFACTS[name].write_old(folders[name])
        found = set(files_of(folders[name]))
        assert found - set(UNREAD) == set(WHOLE[name])
    return folders


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _outcome(read: Callable[[], Any], expected: Any) -> str:
    """`same` for the expected values, `noticed` for an error of the library; other exceptions pass."""
    try:
        found = read()
    except LatentSDFError as error:
        assert len(str(error)) < 2000
        return "noticed"
    return "same" if found == expected else "wrong"


def _try_flips(name: str, file: str, source: Path, folder: Path, flips: int) -> None:
    shutil.copytree(source, folder)
    read = ARTIFACTS[name].read
    expected, data = read(folder), (folder / file).read_bytes()
    rng = np.random.default_rng(0)
    for number in range(flips):
        changed = _flipped(data, rng)
        (folder / file).write_bytes(changed)
        assert _outcome(lambda: read(folder), expected) != "wrong", f"flip {number} of {file} is not noticed"
    (folder / file).write_bytes(data)
    assert read(folder) == expected


@pytest.mark.parametrize(("name", "file"), FILES)
def test_flipped_bits(name: str, file: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """A flipped bit anywhere is noticed, or the values are the same."""
    _try_flips(name, file, whole[name], tmp_path / "copy", 8 if name in ("space", "field") else FLIPS)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), FILES)
def test_many_flipped_bits(name: str, file: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """More flips; each takes some milliseconds, so that they are slow."""
    _try_flips(name, file, whole[name], tmp_path / "copy", TORTURE)


@pytest.mark.parametrize(("name", "file"), FILES)
def test_cut_files(name: str, file: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """Every cut is noticed."""
    shutil.copytree(whole[name], tmp_path / "copy")
    read = ARTIFACTS[name].read
    expected, path = read(tmp_path / "copy"), tmp_path / "copy" / file
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    for length in {0, 1, len(data) - 1, *rng.integers(0, len(data), 8).tolist()}:
        path.write_bytes(data[:length])
        outcome = _outcome(lambda: read(tmp_path / "copy"), expected)
        assert outcome == "noticed", f"{file} cut to {length} of {len(data)} bytes"


@pytest.mark.parametrize(("name", "file"), FILES)
def test_missing_files(name: str, file: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """A missing file is noticed, also the manifest."""
    shutil.copytree(whole[name], tmp_path / "copy")
    expected = ARTIFACTS[name].read(tmp_path / "copy")
    (tmp_path / "copy" / file).unlink()
    outcome = _outcome(lambda: ARTIFACTS[name].read(tmp_path / "copy"), expected)
    assert outcome == ("wrong" if file in ("unfinished.pt", "state.pt") else "noticed")  # these two are then absent


def _without_manifest(folder: Path) -> None:
    """Make an artifact look as an earlier version wrote it."""
    for manifest in folder.rglob("manifest.json"):
        manifest.unlink()
    for name in ("report.json", "shapes.json", "field.json"):
        if (folder / name).is_file():
            content = json.loads((folder / name).read_text())
            del content["manifest"]
            (folder / name).write_text(json.dumps(content))
    if (folder / "unfinished.pt").is_file():
        (folder / "unfinished.pt").write_bytes((folder / "unfinished.pt").read_bytes().partition(b"\n")[2])


@pytest.mark.parametrize(
    ("name", "file"), [(name, file) for name, file in FILES if name != "index" and "manifest" not in file]
)
def test_artifacts_of_earlier_versions(name: str, file: str, whole: dict[str, Path], tmp_path: Path) -> None:
    """Without a manifest an artifact is read; damage then ends in an error of the library, never in a traceback."""
    folder = tmp_path / "copy"
    shutil.copytree(whole[name], folder)
    expected = ARTIFACTS[name].read(folder)
    _without_manifest(folder)
    assert ARTIFACTS[name].read(folder) == expected
    data = (folder / file).read_bytes()
    rng = np.random.default_rng(2)
    for number in range(6 if name in ("space", "field") else 30):
        changed = _flipped(data, rng) if number % 2 else data[: int(rng.integers(len(data)))]
        (folder / file).write_bytes(changed)
        _outcome(lambda: ARTIFACTS[name].read(folder), expected)


def test_note_on_artifacts_of_earlier_versions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first artifact of a kind without a manifest is reported, the others are not."""
    monkeypatch.setattr("latentsdf.utils.artifacts._noted", set())
    for name in ("a", "b"):
        refined_fit().save(tmp_path / name)
        _without_manifest(tmp_path / name)
        read_fit(tmp_path / name)
    assert " ".join(capsys.readouterr().err.split()).count("has no manifest.json, as an earlier version wrote it") == 1


def test_loading_without_verification(tmp_path: Path) -> None:
    """`verify=False` reads files that were changed on purpose, as long as their size is right."""
    write_space(tmp_path / "space", 1)
    refined_fit().save(tmp_path / "fit")
    for path in (tmp_path / "space" / "codes.safetensors", tmp_path / "fit" / "code.npy"):
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    with pytest.raises(ls.CheckpointError, match=r"codes\.safetensors: damaged, its SHA-256"):
        ls.load(tmp_path / "space", "cpu")
    space = ls.load(tmp_path / "space", "cpu", verify=False)
    assert (space.codes != 1).any() and not space.verifies
    with pytest.raises(ls.CheckpointError, match=r"code\.npy: damaged, its SHA-256"):
        ls.load_fit(tmp_path / "fit")
    assert (ls.load_fit(tmp_path / "fit", verify=False).code != refined_fit().code).any()


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("report.json", {"similarity": {"center": [0, 0, 0], "scale": 0}}, "or damaged; invert"),
        ("report.json", {"similarity": {"center": [0, 0, float("nan")], "scale": 1}}, "or damaged; invert"),
        ("report.json", {"similarity": {"center": [0, 0], "scale": 1}}, "or damaged; invert"),
        ("report.json", {"similarity": [1]}, "or damaged; invert"),
        ("report.json", {"similarity": None}, "or damaged; invert"),
        ("report.json", {"history": {"a": 1}}, "or damaged; invert"),
        ("report.json", {"history": [[1]]}, "or damaged; invert"),
        ("report.json", {"residual": "1"}, "or damaged; invert"),
        ("report.json", {"verdict": {"word": "fits"}}, "or damaged; invert"),
        ("report.json", {"rivals": [{"margin": 0}]}, "or damaged; invert"),
        ("report.json", {"space": 3}, "or damaged; invert"),
        ("report.json", {"target": ["a"]}, "or damaged; invert"),
    ],
)
def test_wrong_values_in_fits(file: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """JSON of another type and impossible values are errors also if the checksum is right."""
    refined_fit().save(tmp_path)
    content = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(content | changes))
    renew_manifest(tmp_path)
    with pytest.raises(ls.CheckpointError, match=message):
        ls.load_fit(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shapes": {}}, "expected a list of shapes"),
        ({"shapes": []}, "expected a list of shapes"),
        ({"shapes": ["chair/a", "chair/b"]}, "expected a list of shapes"),
        ({"normalization": 3}, "expected a normalization"),
        ({"model": 3}, "expected a normalization and a model"),
        ({"format": "2"}, "checkpoint format '2'"),
        ({"shapes": [{"key": "chair/a"}, {"key": "chair/b"}]}, "expected a finite center"),
        ({"shapes": [{"key": "chair/a", "center": [0, 0, 0], "scale": 1}] * 2}, "two shapes have the same key"),
        ({"shapes": [{"key": "chair/a", "center": [0, 0, 0], "scale": 0}]}, "expected a scale from 1e-12"),
        ({"shapes": [{"key": "chair/a", "center": [0, 0, 1e999], "scale": 1}]}, "expected a finite center"),
        ({"shapes": [{"key": "chair/a", "center": [0, 0, 0], "scale": 1}]}, "1 shapes with codes of 3 are expected"),
    ],
)
def test_wrong_values_in_spaces(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """As for fits."""
    write_space(tmp_path, 1)
    content = json.loads((tmp_path / "shapes.json").read_text())
    (tmp_path / "shapes.json").write_text(json.dumps(content | changes))
    renew_manifest(tmp_path)
    with pytest.raises(ls.CheckpointError, match=message):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "[" * 100_000, '{"a":' * 100_000, "\x00", "", '{"a": 1'])
def test_json_of_another_type(text: str, tmp_path: Path) -> None:
    """JSON of another type, too deep, or none at all is named in every artifact."""
    write_space(tmp_path / "space", 1)
    refined_fit().save(tmp_path / "fit")
    for path in (tmp_path / "space" / "shapes.json", tmp_path / "fit" / "report.json"):
        path.write_text(text)
        renew_manifest(path.parent)
    for manifest in (False, True):
        with pytest.raises(ls.CheckpointError, match="damaged"):
            checkpoint.load(tmp_path / "space")
        with pytest.raises(ls.CheckpointError, match="damaged"):
            ls.load_fit(tmp_path / "fit")
        if not manifest:
            for name in ("space", "fit"):
                (tmp_path / name / "manifest.json").write_text(text)


def test_damaged_training_state(tmp_path: Path) -> None:
    """A state of another form is refused in the user's terms."""
    for state in ([1, 2], {"step": "a"}, {}):
        write_space(tmp_path, 1)
        torch.save(state, tmp_path / "state.pt")
        renew_manifest(tmp_path)
        if isinstance(state, list):
            with pytest.raises(ls.CheckpointError, match="damaged, so training cannot resume"):
                checkpoint.load_state(tmp_path)
        else:
            assert checkpoint.load_state(tmp_path) == state


def test_damaged_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in `metrics.jsonl`, training resumes: bad lines are left out, with a note."""
    path = tmp_path / "metrics.jsonl"
    good = "".join(json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in (1, 2, 3)).encode()
    config = ls.Config()
    bad = (b"[]", b"3", b'{"loss": 1}', b'{"step": "a"}', b'{"step": true}', b"{" * 99_999, b"\xff", b'{"step": 4, "lo')
    path.write_bytes(good + b"\n".join(bad))
    with open_training_logger(tmp_path, config, 2) as logger:
        logger.log({"step": 3, "loss": float("nan")})
    assert [line["step"] for line in checkpoint.read_metrics(tmp_path)] == [1, 2, 3]
    assert "8 of 11 lines cannot be read" in " ".join(capsys.readouterr().err.split())
    rng = np.random.default_rng(0)
    for _ in range(FLIPS):
        path.write_bytes(_flipped(good, rng))
        with open_training_logger(tmp_path, config, 2):
            pass


def test_delta_alone(tmp_path: Path) -> None:
    """A delta without a folder notices flips and cuts by the checksums of its archive, or is the same."""
    delta = refined_fit().delta
    assert delta is not None
    path = tmp_path / "delta.npz"
    delta.save(path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)

    def values() -> Any:
        found = parse_delta(path.read_bytes(), "delta.npz")
        assert isinstance(found, Delta)
        arrays = (found.rows, found.features, found.index, found.correction)
        return found.base_fingerprint, found.resolution, *(array.tolist() for array in arrays)

    expected = values()
    for number in range(FLIPS):
        path.write_bytes(_flipped(data, rng) if number % 4 else data[: int(rng.integers(len(data)))])
        assert _outcome(values, expected) != "wrong"


@pytest.mark.slow
def test_flipped_store(lamp_store: SampleStore, tmp_path: Path) -> None:
    """Flips in the files of a stored shape are noticed by `verify`, or the values are the same.

    Slow: Zarr takes 0.1 s to read a shape twice.
    """
    shutil.copytree(lamp_store.path, tmp_path / "s.zarr")
    store = SampleStore.open(tmp_path / "s.zarr")
    folder = store.path / "shapes" / "lamp" / "a"
    expected = lamp_store.read("lamp/a")
    rng = np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for number in range(24):
        path = files[number % len(files)]
        data = path.read_bytes()
        path.write_bytes(_flipped(data, rng) if number % 3 else data[: int(rng.integers(len(data)))])
        try:
            store.verify("lamp/a")
            found = store.read("lamp/a")
        except LatentSDFError:
            pass
        else:
            assert np.array_equal(found.samples.near, expected.samples.near)
            assert np.array_equal(found.samples.band_distance, expected.samples.band_distance)
        path.write_bytes(data)
    store.verify("lamp/a")
