"""Writers that are killed at any call that changes files: artifacts are old or new, never a mixture.

The kill is simulated (`helpers.kills`): the k-th call and all later ones fail, for every k.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.artifacts import ARTIFACTS
from helpers.kills import kill_at

from latentsdf.latent import faiss_indices
from latentsdf.utils import artifacts, atomic_files


def _leftovers(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which folders this process has cleaned, as a new process does."""
    monkeypatch.setattr(atomic_files, "_cleaned", set())


def _names(*names: str) -> list[Any]:
    """Parameters of a test. Spaces and fields are slow: YAML and torch take 0.1 s for each of some 40 kills."""
    return [pytest.param(name, marks=pytest.mark.slow if name.startswith(("space", "field")) else ()) for name in names]


@pytest.mark.parametrize("name", _names(*ARTIFACTS))
def test_replacement(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill at any call, the old or the new artifact is read; repeating the write leaves only the new one."""
    artifact = ARTIFACTS[name]
    if name.startswith("hnsw") and not faiss_indices.is_installed():
        pytest.skip("needs FAISS")
    template = tmp_path / "template"
    template.mkdir()
    artifact.write_old(template)
    old = artifact.read(template)
    shutil.copytree(template, tmp_path / "counted")
    with kill_at(None) as counter:
        artifact.write_new(tmp_path / "counted")
    new, total = artifact.read(tmp_path / "counted"), counter.count
    assert new != old and total >= 2 and not _leftovers(tmp_path / "counted")
    seen = set()
    for number in range(total):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        with kill_at(number) as counter:
            artifact.write_new(folder)
        assert counter.dead or number >= total - 3  # the record of an own cache is made once
        monkeypatch.setattr(atomic_files, "_cleaned", set())
        state = artifact.read(folder)
        assert state in (old, new), f"a mixture after a kill at call {number} of {total}"
        seen.add(state == new)
        artifact.write_new(folder)
        assert artifact.read(folder) == new
        assert not _leftovers(folder), f"temporary files stay after a kill at call {number}"
    assert False in seen


@pytest.mark.parametrize(
    "name", _names("refined fit over plain", "space", "field", "index", "unfinished reconstruction")
)
def test_first_write(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill during the first write, the artifact is absent or whole, and repeating the write succeeds."""
    artifact = ARTIFACTS[name]
    (tmp_path / "counted").mkdir()
    absent = artifact.read(tmp_path / "counted") if name in ("index", "unfinished reconstruction") else None
    with kill_at(None) as counter:
        artifact.write_old(tmp_path / "counted")
    new = artifact.read(tmp_path / "counted")
    for number in range(counter.count):
        folder = tmp_path / str(number)
        folder.mkdir()
        with kill_at(number):
            artifact.write_old(folder)
        monkeypatch.setattr(atomic_files, "_cleaned", set())
        try:
            state = artifact.read(folder)
        except artifacts.CheckpointError as error:
            assert "missing" in str(error)
        else:
            assert state in (absent, new)
        artifact.write_old(folder)
        assert artifact.read(folder) == new and not _leftovers(folder)


def test_reader_that_is_killed(tmp_path: Path) -> None:
    """A reader that completes a replacement may be killed, too."""
    artifact = ARTIFACTS["plain fit over refined"]
    template = tmp_path / "template"
    artifact.write_old(template)
    with kill_at(None) as counter:
        artifact.write_new(template)
    new, total = artifact.read(template), counter.count
    shutil.rmtree(template)
    artifact.write_old(template)
    for number in range(total):  # the kill right after the rename that replaces the artifact
        folder = tmp_path / f"template{number}"
        shutil.copytree(template, folder)
        with kill_at(number):
            artifact.write_new(folder)
        if (folder / ".next" / "manifest.json").is_file():
            break
    for number in range(10):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        with kill_at(number):
            artifact.read(copy)
        assert artifact.read(copy) == new and not _leftovers(copy)


def test_reader_without_permission_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replacement that a crash interrupted is read where the folder cannot be written, without completing it."""
    artifact = ARTIFACTS["refined fit over plain"]
    artifact.write_old(tmp_path)
    numbers = iter(range(100))
    while not (tmp_path / ".next" / "code.npy").is_file():
        with kill_at(next(numbers)):
            artifact.write_new(tmp_path)
    (tmp_path / ".next" / "code.npy").replace(tmp_path / "code.npy")  # half of the files are moved up
    artifact.write_new(tmp_path / "whole")
    expected = artifact.read(tmp_path / "whole")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(artifacts.os, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert artifact.read(tmp_path) == expected and (tmp_path / ".next").is_dir()


def test_two_writers(tmp_path: Path) -> None:
    """Of two writers that finish one after the other, the later one wins, and both are whole."""
    names = ("a", "b")
    with artifacts.write_artifact(tmp_path, "fit", names) as first:
        (first / "a").write_text("first")
        with artifacts.write_artifact(tmp_path, "fit", names) as second:
            (second / "a").write_text("second")
            (second / "b").write_text("second")
        assert sorted(path.name for path in tmp_path.iterdir() if path != first) == ["a", "b", "manifest.json"]
        assert (tmp_path / "a").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "manifest.json"]
    assert (tmp_path / "a").read_text() == "first"


def test_failed_writer(tmp_path: Path) -> None:
    """An error while files are written leaves the older artifact and no temporary files."""
    artifact = ARTIFACTS["field"]
    artifact.write_old(tmp_path)
    old = artifact.read(tmp_path)
    with pytest.raises(OSError, match="no space"), artifacts.write_artifact(tmp_path, "field", ("field.json",)) as new:
        (new / "field.json").write_text("{}")
        raise OSError("no space")
    assert artifact.read(tmp_path) == old and not _leftovers(tmp_path)


@pytest.mark.parametrize("verify", [True, False])
def test_artifact_that_is_replaced_while_it_is_read(verify: bool, tmp_path: Path) -> None:
    """A reader that sees files of two versions reads again."""
    names = ("a", "b")

    def write(text: str) -> None:
        with artifacts.write_artifact(tmp_path, "fit", names) as folder:
            for name in names:
                (folder / name).write_text(text)

    write("new 0")
    turns = []

    def read(artifact: artifacts.Artifact) -> list[bytes]:
        first = artifact.read_bytes("a")
        if len(turns) < 2:
            turns.append(None)
            write(f"new {len(turns)}")
        return [first, artifact.path("b").read_bytes()]

    assert artifacts.read_artifact(tmp_path, "fit", names, read, verify=verify) == [b"new 2", b"new 2"]
    assert len(turns) == 2
