"""Commands that are killed at any call that changes files, or have no room, while they replace an earlier output.

Every file is then that of the earlier run or that of the new one (a log of training, that of the new one so far), and
the repeated command leaves the new ones only. One kill per command is simulated (`helpers.kills`), chosen at random;
at least 20 with LATENTSDF_TORTURE.
"""

import csv
import json
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.kills import kill_at
from helpers.settings import TINY_MODEL

from latentsdf import cli
from latentsdf.cli import demo_pipeline
from latentsdf.config.training import Config, TrainConfig
from latentsdf.data.store import SampleStore
from latentsdf.geometry.mesh import save
from latentsdf.latent import faiss_indices
from latentsdf.space import ShapeSpace
from latentsdf.utils import atomic_files
from latentsdf.utils.artifacts import MANIFEST, Artifact
from preprocessing import __main__ as preprocessing
from preprocessing.shape import make_record
from preprocessing.sources import procedural

pytestmark = pytest.mark.slow

_TORTURE = "LATENTSDF_TORTURE" in os.environ
_KILLS = 20 if _TORTURE else 1
_LOGS = ("metrics.jsonl", "metrics.csv")  # of a training run
_TIMES = ("seconds", "elapsed", "throughput", "time")
_ROOM = 100  # bytes that a file may have where there is no room; every command writes a larger one
_GO_ON = ("preprocess", "demo")  # commands that report a lack of room shape by shape, or run others


@pytest.fixture
def inputs(space: ShapeSpace, space_path: Path, store_path: Path, tmp_path: Path) -> Path:
    """Folder with the space, the store and two exports of it, two meshes, two fits and two clouds of points."""
    folder = tmp_path / "inputs"
    shutil.copytree(space_path, folder / "space")
    shutil.copytree(store_path, folder / "store.zarr")
    other = SampleStore.open(shutil.copytree(store_path, folder / "other.zarr"))
    other.write(make_record(procedural(["table"], count=1)[0], other.config, seed=1))
    for number, store in enumerate(("store.zarr", "other.zarr")):
        assert cli.main(["export", str(folder / store), str(folder / f"store{number}.h5")]) == 0
    for number in range(2):
        mesh = space.extract(f"table_000{number}", 24)
        save(mesh, folder / f"{number}.ply")
        save(mesh, folder / f"meshes{number}" / "table" / "table_0000.ply")
        space.invert(mesh, steps=1, starts=1, points=64).save(folder / f"fit{number}")
        angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        np.save(folder / f"{number}.npy", np.column_stack((np.cos(angle), (number + 1) * np.sin(angle))))
    return folder


def _few(command: str, *args: str) -> list[str]:
    return [command, "{inputs}/space", *args, "--device", "cpu", "--resolution", "16"]


_EVALUATION = _few("evaluate", "--meshes", "{inputs}/meshes{number}", "--points", "500", "--out", "{out}")
_SAMPLING = [
    "preprocess",
    "--source",
    "{inputs}/meshes{number}",
    "--resolution",
    "16",
    "--band-voxels",
    "2",
    "--near",
    "50",
    "--uniform",
    "50",
    "--surface",
    "50",
    "--out",
    "{out}/store.zarr",
]
_TRAINING = [
    "train",
    "--config",
    "{inputs}/space/config.yaml",
    "--data",
    "{inputs}/store.zarr",
    "--out",
    "{out}",
    "--steps",
    "2",
    "--train.seed",
    "{number}",
    "--overwrite",
    "--device",
    "cpu",
]

_COMMANDS: dict[str, list[str]] = {
    "extract one": _few("extract", "--id", "table_000{number}", "--out", "{out}/mesh.ply"),
    "extract all": _few("extract", "--all", "--faces", "1{number}0", "--out", "{out}"),
    "extract volume": _few("extract", "--id", "table_000{number}", "--out", "{out}/volume.npz"),
    "sample": _few("sample", "--random", "2", "--seed", "{number}", "--out", "{out}"),
    "interpolate": _few("interpolate", "--id", "table_000{number}", "table_0002", "--steps", "2", "--out", "{out}"),
    "interpolate animated": _few("interpolate", "--id", "table_000{number}", "table_0002", "--steps", "2",
                                 "--out", "{out}/path.gif"),
    "invert": _few("invert", "{inputs}/{number}.ply", "--steps", "1", "--starts", "1", "--out", "{out}"),
    "render": ["render", "{inputs}/space", "--id", "table_000{number}", "--size", "16", "--out", "{out}/image.png",
               "--device", "cpu"],
    "retrieve": ["retrieve", "{inputs}/space", "--id", "table_000{number}", "--out", "{out}/rows.png",
                 "--device", "cpu"],
    "retrieve add": ["retrieve", "{out}/space", "--add", "{inputs}/fit{number}", "--device", "cpu"],
    "retrieve kind": ["retrieve", "{out}/space", "--add", "{inputs}/fit{number}", "--kind", "hnsw", "--device", "cpu"],
    "evaluate": _EVALUATION,
    "evaluate colors": [*_EVALUATION, "--colors", "error"],
    "preprocess": _SAMPLING,
    "preprocess preview": [*_SAMPLING, "--augment", "1", "--preview"],
    "preprocess renew": [word.replace("{number}", "0") for word in [*_SAMPLING, "--renew"]],
    "export": ["export", "{inputs}/store.zarr", "{out}/store.h5", "--id", "table_000{number}"],
    "import": ["import", "{inputs}/store{number}.h5", "{out}/store.zarr", "--overwrite"],
    "train": _TRAINING,
    "train with logs": [*_TRAINING, "--log", "csv", "--train.image-minutes", "1e-9"],
    "reconstruct": ["reconstruct", "{inputs}/{number}.npy", "--out", "{out}", "--steps", "2", "--overwrite",
                    "--resolution", "16", "--device", "cpu"],
    "pack": ["pack", "{inputs}/space", "--out", "{out}", "--ids", "table_000{number}", "--half", "--overwrite",
             "--name", "packed", "--device", "cpu"],
    "demo": ["demo", "--out", "{out}", "--steps", "300", "--per-family", "2", "--seed", "{number}", "--device", "cpu"],
}  # fmt: skip


def _copy_space(inputs: Path, out: Path) -> None:
    shutil.copytree(inputs / "space", out / "space")


_PREPARATION: dict[str, Callable[[Path, Path], None]] = {"retrieve add": _copy_space, "retrieve kind": _copy_space}
"""What the folder holds before the first run."""


def _age_samples(out: Path) -> None:
    """Change the samples of a store to those of an earlier version with known faults."""
    path = out / "store.zarr" / "shapes" / "table" / "table_0000" / "zarr.json"
    content = json.loads(path.read_text())
    content["attributes"] |= {"sampling_version": 1, "watertight": False}
    content["attributes"]["sign"]["method"] = "visibility"
    path.write_text(json.dumps(content))


_BETWEEN: dict[str, Callable[[Path], None]] = {"preprocess renew": _age_samples}
"""What happens to the folder between the first run and the second one."""


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo with fewer, coarser shapes of one family, a small model, and its preprocessing in this process."""
    train = partial(TrainConfig, shapes_per_batch=2, points_per_shape=512)
    for name, value in {"RESOLUTION": 64, "_FAMILIES": ("table",), "_PRETRAINED": "none", "_RANDOM_SHAPES": 1,
                        "_EVALUATED_PER_FAMILY": 2, "_UNSEEN_PER_FAMILY": 1, "TrainConfig": train,
                        "Config": partial(Config, model=TINY_MODEL)}.items():  # fmt: skip
        monkeypatch.setattr(demo_pipeline, name, value)

    def run(command: list[str], *, check: bool) -> SimpleNamespace:
        assert not check
        return SimpleNamespace(returncode=preprocessing.main(command[4:], hint=False))

    monkeypatch.setattr(subprocess, "run", run)


def _run(command: list[str], inputs: Path, out: Path, number: int) -> int:
    out.mkdir(exist_ok=True)
    args = [arg.format(inputs=inputs, out=out, number=number) for arg in command]
    return preprocessing.main(args[1:]) if args[0] == "preprocess" else cli.main(args)


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if not any(time in k for time in _TIMES)}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def _content(path: Path) -> Any:
    """Content of a file, without measured times, checksums of files that hold them, and the course of a run."""
    # FAISS builds another graph when it adds codes than when it starts afresh.
    if path.name in ("manifest.json", "state.pt", "cache.faiss") or (
        path.parent.suffix == ".zarr" and path.stem == "report"
    ):
        return "depends on the run"
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [_without_times(json.loads(line)) for line in path.read_text().splitlines()]
    if path.name == "metrics.csv":
        return [_without_times(row) for row in csv.DictReader(path.read_text().splitlines())]
    if path.suffix == ".html":  # shows times
        assert path.read_text().endswith("</html>\n")
        return "depends on the run"
    return path.read_bytes()


def _is_temporary(name: str) -> bool:
    """Return whether a name is that of an unfinished file, or of the folder of a store for them."""
    return name.startswith((".", "~")) or name.endswith(".tmp") or name == "tmp"


def _files(folder: Path, *, logs: bool = True) -> dict[str, Any]:
    """Contents of all finished files of a folder, optionally without the logs of a training run."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and (logs or path.name not in _LOGS)
        and not any(_is_temporary(part) for part in path.relative_to(folder).parts)
    }


def _require_whole(folder: Path) -> None:
    """Compare the artifacts in a folder, as readers see them, with their manifests."""
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.name.startswith("."))):
        manifests = [
            json.loads(file.read_text()) for file in (path / ".next" / MANIFEST, path / MANIFEST) if file.is_file()
        ]
        if manifests:
            names = {name for manifest in manifests for name in manifest["files"]}
            artifact = Artifact(path, manifests[0]["kind"], names, verify=True)
            for name in artifact.files:
                artifact.read_bytes(name)


@contextmanager
def _no_room() -> Iterator[None]:
    """Let every write beyond a small size of a file fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("in_process", "small_demo")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of files that could not be closed
@pytest.mark.parametrize("name", _COMMANDS)
def test_replacement(
    name: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files are old or new after a kill; repeating the command completes it and leaves no temporary files.

    Without room, the command names what it cannot write and why.
    """
    if name == "retrieve kind" and not faiss_indices.is_installed():
        pytest.skip("needs FAISS")
    if name == "demo" and "LATENTSDF_TORTURE" not in os.environ:
        pytest.skip("runs the demo many times; set LATENTSDF_TORTURE")
    command = _COMMANDS[name]
    template = tmp_path / "template"
    if name in _PREPARATION:
        _PREPARATION[name](inputs, template)
    assert _run(command, inputs, template, 0) == 0
    if name in _BETWEEN:
        _BETWEEN[name](template)
    old = _files(template)
    shutil.copytree(template, tmp_path / "counted")
    with kill_at(None) as counter:
        assert _run(command, inputs, tmp_path / "counted", 1) == 0
    new, total = _files(tmp_path / "counted"), counter.count
    assert new != old
    if not name.startswith(_GO_ON):
        full = tmp_path / "full"
        shutil.copytree(template, full)
        capsys.readouterr()
        with _no_room():
            assert _run(command, inputs, full, 1) != 0
        message = " ".join(capsys.readouterr().err.split())
        assert str(full) in message and "exceeds the size limit of the process" in message
        for file, content in _files(full, logs=False).items():
            assert content in (old.get(file), new.get(file)), f"{file} without room"
    for number in random.Random(name).sample(range(total), min(_KILLS, total)):
        out = tmp_path / f"out{number}"
        shutil.copytree(template, out)
        with kill_at(number):
            _run(command, inputs, out, 1)
        monkeypatch.setattr(atomic_files, "_cleaned", set())
        for file, content in _files(out).items():
            expected = [old.get(file), new.get(file)]
            if file in _LOGS and name.startswith(("train", "demo")):  # written line by line
                expected.append(new[file][: len(content)])
            assert content in expected, f"{file} after a kill at call {number} of {total}"
        _require_whole(out)
        assert _run(command, inputs, out, 1) == 0
        assert _files(out) == new, f"after a kill at call {number} of {total}"
        unfinished = [path for path in out.rglob("*") if _is_temporary(path.name) and path.name != "tmp"]
        unfinished += out.glob("*/tmp/*")
        assert not unfinished, f"after a kill at call {number} of {total}"
