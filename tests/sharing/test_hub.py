"""Spaces on Hugging Face, against a local stand-in: upload, download, interruptions, damage and refusals."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import hub_server
from helpers.artifacts import read_space, write_space
from helpers.hub_server import TOKEN, StandIn
from helpers.kills import kill_at

import latentsdf as ls
from latentsdf import cli
from latentsdf.sharing import hub as sharing

pytest.importorskip("huggingface_hub")

REPO = "me/chairs"
URI = f"hf://{REPO}"
_STRIDE = 1 if "LATENTSDF_TORTURE" in os.environ else 8
"""A kill at each call that changes files, or at every eighth."""


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    """The stand-in."""
    from huggingface_hub import close_session

    with hub_server.serve() as running:
        yield running
        close_session()


@pytest.fixture
def hub(server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The stand-in without repositories, with a cache and a login of its own."""
    hub_server.log_in(server, tmp_path / "hf", monkeypatch)
    for name, value in vars(StandIn()).items():
        if name != "url":
            setattr(server, name, value)
    return server


@pytest.fixture
def pushed(hub: StandIn, tmp_path: Path) -> StandIn:
    """The stand-in with a space of two shapes."""
    write_space(tmp_path / "tiny", 1)
    ls.load(tmp_path / "tiny").push_to_hub(REPO, license="mit", picture=False)
    hub.requests.clear()
    return hub


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set HF_HUB_OFFLINE, which is read when huggingface_hub is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_push_and_load(pushed: StandIn, tmp_path: Path) -> None:
    """A space that was pushed loads as it was; only the manifest and its files are downloaded, once."""
    files = pushed.files(REPO)
    names = {"shapes.json", "config.yaml", "codes.safetensors", "model.safetensors"}
    assert json.loads(files["manifest.json"])["files"].keys() == names
    assert b"license: mit" in files["README.md"] and URI.encode() in files["README.md"]
    files["evil.pt"] = b"not in the manifest"
    loaded = ls.load(URI)
    assert loaded.fingerprint == ls.load(tmp_path / "tiny").fingerprint
    assert sorted(pushed.downloads()) == sorted({*names, "manifest.json"})
    pushed.requests.clear()
    assert ls.load(f"{URI}@main").ids == loaded.ids and ls.load(Path(URI)).ids == loaded.ids
    assert not pushed.downloads()


def test_revisions(pushed: StandIn, tmp_path: Path) -> None:
    """A later push replaces the space in one commit; the earlier one is found by its revision."""
    pushed.files(REPO)["state.pt"] = b"of another version"
    first = hub_server.commit_id(pushed.files(REPO))
    write_space(tmp_path / "new", 2)
    ls.load(tmp_path / "new").push_to_hub(REPO, keep=1, picture=False)
    assert len(pushed.repos[REPO]) == 3 and "state.pt" not in pushed.files(REPO)
    assert len(ls.load(URI)) == 1 and len(ls.load(f"{URI}@{first}")) == 2
    assert ls.load(URI).categories == {"chair": 2}


def test_cut_download(pushed: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that is cut continues where it was cut."""
    from huggingface_hub import constants

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1)
    pushed.cut = {"model.safetensors"}
    ls.load(URI)
    half = len(pushed.files(REPO)["model.safetensors"]) // 2
    assert pushed.ranges == [f"bytes={half}-"]


def test_interrupted_download(pushed: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the command is repeated after an interruption, complete files are not downloaded again."""
    real = sharing._fetch

    def fetch(api, repo, name, *rest):
        if name == "codes.safetensors":
            raise KeyboardInterrupt
        return real(api, repo, name, *rest)

    monkeypatch.setattr(sharing, "_fetch", fetch)
    with pytest.raises(KeyboardInterrupt):
        ls.load(URI)
    before = pushed.downloads()
    monkeypatch.setattr(sharing, "_fetch", real)
    pushed.requests.clear()
    ls.load(URI)
    assert "manifest.json" in before and not set(before) & set(pushed.downloads()) and pushed.downloads()


@pytest.mark.usefixtures("pushed")
def test_killed_pull(tmp_path: Path) -> None:
    """A copy is old or new after a kill, never with the card of the other; the repeated command completes it."""
    write_space(tmp_path / "old", 2)
    ls.load(tmp_path / "old").save_packed(tmp_path / "packed", picture=False)
    expected = [read_space(tmp_path / name)[:2] for name in ("packed", "tiny")]
    with kill_at(None) as counter:
        sharing.pull(REPO, tmp_path / "counted")
    for number in range(0, counter.count, _STRIDE):
        shutil.rmtree(tmp_path / "hf", ignore_errors=True)
        out = Path(shutil.copytree(tmp_path / "packed", tmp_path / f"out{number}"))
        with kill_at(number):
            sharing.pull(REPO, out, overwrite=True)
        found = read_space(out)[:2]
        assert found in expected and (found == expected[0] or not (out / "README.md").exists())
        sharing.pull(REPO, out, overwrite=True)
        assert read_space(out)[:2] == expected[1]
        assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "counted").iterdir()}


def test_killed_push(pushed: StandIn, tmp_path: Path) -> None:
    """The repository holds the old or the new space after a kill; the repeated command completes it."""
    write_space(tmp_path / "new", 2)
    space = ls.load(tmp_path / "new")
    old = pushed.files(REPO)
    with kill_at(None) as counter:
        space.push_to_hub(REPO, picture=False)
    new = pushed.files(REPO)
    for number in range(0, counter.count, _STRIDE):
        pushed.repos[REPO] = [old]
        with kill_at(number):
            space.push_to_hub(REPO, picture=False)
        assert pushed.files(REPO) in (old, new)
        space.push_to_hub(REPO, picture=False)
        assert pushed.files(REPO) == new


def test_changed_file(pushed: StandIn) -> None:
    """Files that do not match the manifest, in size or in content, are refused."""
    good = pushed.files(REPO)["codes.safetensors"]
    pushed.files(REPO)["codes.safetensors"] = good[:-1] + b"x"
    with pytest.raises(ls.CheckpointError, match="SHA-256 of codes.safetensors is not that in manifest.json"):
        ls.load(URI)
    pushed.files(REPO)["codes.safetensors"] = good + b"x"
    with pytest.raises(ls.CheckpointError, match="codes.safetensors has [0-9]+ bytes, expected"):
        ls.load(URI)


def test_damaged_cache(pushed: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was damaged in the cache is downloaded once more; without a network, that is an error."""
    blob = (ls.load(URI).folder / "codes.safetensors").resolve()
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + b"x")
    with monkeypatch.context() as patch:
        offline(patch)
        with pytest.raises(ls.CheckpointError, match="codes.safetensors is damaged in the cache"):
            ls.load(URI)
    pushed.requests.clear()
    assert len(ls.load(URI)) == 2 and pushed.downloads() == ["codes.safetensors"]


@pytest.mark.usefixtures("pushed")
def test_offline(monkeypatch: pytest.MonkeyPatch, messages: Callable[[], str]) -> None:
    """Without a network the copy in the cache is used, with a note; without a copy, the error says so."""
    with monkeypatch.context() as patch:
        offline(patch)
        with pytest.raises(ls.HubError, match="HF_HUB_OFFLINE is set, and there is no copy in the cache"):
            ls.load(URI)
    ls.load(URI)
    offline(monkeypatch)
    messages()
    assert len(ls.load(URI)) == 2 and "the copy in the cache is used" in messages()


def test_no_network(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that does not answer, and one that answers with errors, are named as such."""
    from huggingface_hub import constants

    hub.status = 503
    with pytest.raises(ls.HubError, match="answers 503.*no copy in the cache"):
        ls.load(URI)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ls.HubError, match="cannot be reached.*no copy in the cache"):
        ls.load(URI)


def test_refused(pushed: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: Callable[[], str]) -> None:
    """Missing and private repositories, missing revisions, and repositories of other things."""
    with pytest.raises(ls.HubError, match="no such repository, or it is private"):
        ls.load("hf://me/none")
    with pytest.raises(ls.HubError, match="no such revision"):
        ls.load(f"{URI}@v9")
    pushed.repos["me/other"] = [{"config.json": b"{}"}]
    with pytest.raises(ls.CheckpointError, match="is not a latentsdf space"):
        ls.load("hf://me/other")
    pushed.repos["me/huge"] = [{"manifest.json": bytes(2**20 + 1)}]
    with pytest.raises(ls.CheckpointError, match="expected at most 1,048,576"):
        ls.load("hf://me/huge")
    for name in ("hf://me", "hf://a/b/c", "hf://me/x@", "hf://me/../x"):
        with pytest.raises(ls.ConfigError, match="expected hf://USER/SPACE"):
            ls.load(name)
    pushed.private.add(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ls.HubError, match="or it is private; for a private one, log in"):
        ls.load(URI)
    assert cli.main(["push", str(tmp_path / "tiny"), REPO, "--no-picture", "--token", "hf_wrong"]) == 2
    assert "access denied (401)" in messages()
    pushed.status = 403
    messages()
    assert cli.main(["pull", REPO]) == 2 and "access denied (403)" in messages()


@pytest.mark.usefixtures("pushed")
def test_disk_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is named."""
    import huggingface_hub

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "blob")

    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", full)
    with pytest.raises(ls.HubError, match=r"the disk is full \(blob\)"):
        ls.load(URI)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without huggingface_hub, the error names the extra."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ls.MissingExtraError, match=r"pip install 'latentsdf\[hub\]'"):
        ls.load(URI)


def test_commands(hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: Callable[[], str]) -> None:
    """`push` and `pull` copy a space; a private one needs the token; a folder is not replaced unasked."""
    monkeypatch.chdir(tmp_path)
    write_space(Path("tiny"), 1)
    monkeypatch.delenv("HF_TOKEN")
    push = ["push", "tiny", REPO, "--private", "--license", "mit", "--no-picture"]
    assert cli.main(push) == 2 and "log in" in messages()
    assert cli.main([*push, "--token", TOKEN]) == 0 and hub.private == {REPO}
    assert cli.main(["pull", REPO, "--out", "copy"]) == 2
    assert cli.main(["pull", URI, "--out", "copy", "--token", TOKEN]) == 0
    assert read_space(Path("copy"))[:2] == read_space(Path("tiny"))[:2]
    assert {file.name for file in Path("copy").iterdir()} == {
        *json.loads(hub.files(REPO)["manifest.json"])["files"],
        "manifest.json",
    }
    assert cli.main(["pull", REPO, "--out", "copy", "--token", TOKEN]) == 2 and "--overwrite" in messages()
    assert cli.main(["info", "copy", "--verify"]) == 0 and "mit" in messages()


def test_handwritten_card(pushed: StandIn, tmp_path: Path) -> None:
    """A model card that was edited on Hugging Face is kept by the next push, until told otherwise."""
    pushed.files(REPO)["README.md"] += b"My own words.\n"
    space = ls.load(tmp_path / "tiny")
    space.push_to_hub(REPO, half=True, picture=False)
    assert b"My own words." in pushed.files(REPO)["README.md"]
    space.push_to_hub(REPO, half=True, picture=False, overwrite_card=True)
    assert b"My own words." not in pushed.files(REPO)["README.md"]
    assert len(ls.load(URI)) == 2
