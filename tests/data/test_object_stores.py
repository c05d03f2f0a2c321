"""Sample stores in object storage: reading, writing, and a storage that stops answering half-way."""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from helpers.files import files_of
from helpers.s3_server import StandIn, s3_server
from helpers.settings import SMALL_SAMPLING, small_config

import latentsdf as ls
from latentsdf import cli
from latentsdf.data.records import ShapeRecord
from latentsdf.data.store import SampleStore, write_text
from latentsdf.explorer.targets import kind_of
from latentsdf.training.train import train
from latentsdf.utils import object_storage
from latentsdf.utils.errors import ConfigError, MissingExtraError, StoreError
from latentsdf.utils.object_storage import ObjectPath, locate
from latentsdf.utils.output_folders import require_writable_output
from preprocessing import __main__ as preprocess
from preprocessing import shards

pytest.importorskip("obstore", reason="needs obstore: pip install 'latentsdf[cloud]'")

SMALL_FLAGS = ["--resolution", "16", "--band-voxels", "1", "--sparse-resolution", "16", "--near", "20",
               "--uniform", "20", "--surface", "20"]  # fmt: skip
LAMPS = ["--source", "procedural", "--category", "lamp", "--count", "3", "--workers", "1", *SMALL_FLAGS]
needs_stand_in = pytest.mark.skipif("LATENTSDF_S3" in os.environ, reason="makes the stand-in of S3 fail")


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    """Stand-in of S3, shared by the tests of this module."""
    with s3_server() as state, pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_storage, "RETRY_SECONDS", 0.1)
        patch.setattr(object_storage, "_BACKOFF", {"init_backoff": timedelta(milliseconds=1)})
        object_storage._client.cache_clear()
        yield state
        object_storage._client.cache_clear()


@pytest.fixture(params=["s3", "memory"])
def url(request: pytest.FixtureRequest, server: StandIn) -> str:  # noqa: ARG001
    """URL of a store that does not exist yet."""
    return f"{request.param}://bucket/some folder/{uuid.uuid4().hex}.zarr"


@pytest.fixture
def s3_url(server: StandIn) -> Iterator[str]:
    """URL of a store on the stand-in, which answers again after the test."""
    yield f"s3://bucket/{uuid.uuid4().hex}.zarr"
    server.fail_after = None


def _objects(path: ObjectPath) -> dict[str, bytes]:
    """Contents of all objects below a path, by relative name."""
    return {name: (path / name).read_bytes() for name, _ in path.files()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/x/y.zarr", ObjectPath("s3", "b", "x/y.zarr")),
        ("gs://b/стул 1/", ObjectPath("gs", "b", "стул 1")),
        ("memory://b", ObjectPath("memory", "b", "")),
        ("S3://b/x", ObjectPath("s3", "b", "x")),
        (Path("s3://b/x"), ObjectPath("s3", "b", "x")),
        ("shapes.zarr", Path("shapes.zarr")),
        ("/a/s3/b", Path("/a/s3/b")),
        (Path("C:/a"), Path("C:/a")),
    ],
)
def test_locations(text: str | Path, expected: Path | ObjectPath) -> None:
    """URLs are recognized, also after `Path` has taken one of their slashes."""
    assert locate(text) == expected
    assert locate(locate(text)) == expected


def test_invalid_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL of another scheme, or with an empty name, is refused; so is one without the extra."""
    with pytest.raises(ConfigError, match="http://x/y: expected a path, or a URL of s3://, gs://, memory://"):
        locate("http://x/y")
    for text in ("s3://b/x//y", "s3://b/../c", "memory://../c"):
        with pytest.raises(ConfigError, match=f"{text}: expected .*://bucket/name, got a name that is empty or"):
            locate(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="gcs:/b/x: expected a path, or a URL of s3://, gs://, memory://"):
        locate(Path("gcs://b/x"))
    (tmp_path / "odd:").mkdir()
    assert locate(Path("odd:/name")) == Path("odd:/name")
    with pytest.raises(ConfigError, match="only sample stores can be in object storage; name a folder on disk"):
        require_writable_output(Path("s3://b/checkpoint"), "space", overwrite=False)
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentsdf\[cloud\]'"):
        locate("s3://b/x")


def test_same_objects_and_values_as_on_disk(record: ShapeRecord, url: str, tmp_path: Path) -> None:
    """A store has the same files at a URL as on disk, and every way of reading returns the same."""
    disk, remote = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING), SampleStore.create(url, SMALL_SAMPLING)
    for store in (disk, remote):
        store.write(record)
        store.write(replace(record, category="стул", id="b c~1"))
    found = _objects(locate(url))  # type: ignore[arg-type]
    expected = files_of(tmp_path / "s.zarr")
    assert {name: data for name, data in found.items() if name != "zarr.json"} == {
        name: data for name, data in expected.items() if name != "zarr.json"
    }
    roots = [json.loads(files["zarr.json"]) for files in (found, expected)]
    for root in roots:
        del root["attributes"]["created"]
    assert roots[0] == roots[1]
    remote = SampleStore.open(url)
    assert remote.keys() == disk.keys() == ["lamp/a.b-1", "стул/b c~1"] and len(remote) == 2
    key = record.key
    assert key in remote and "lamp/other" not in remote
    assert remote.info(key) == disk.info(key)
    assert remote.provenance(key) == disk.provenance(key)
    for one, other in zip(remote.band(key, [0]), disk.band(key, [0]), strict=True):
        assert np.array_equal(one, other)
    assert remote.surface_array_shape(key) == disk.surface_array_shape(key)
    rngs = [np.random.default_rng(1) for _ in range(2)]
    parts = [store.surface_subset(key, 0.3, rng) for store, rng in zip((remote, disk), rngs, strict=True)]
    assert np.array_equal(*parts)
    back = remote.read(key)
    assert np.array_equal(back.samples.band_index, record.samples.band_index) and back.similarity == record.similarity
    remote.verify(key)
    with pytest.raises(StoreError, match="has no shape 'lamp/other'"):
        remote.info("lamp/other")
    assert url in repr(remote)


def test_settings_and_other_content(record: ShapeRecord, url: str) -> None:
    """The rules of stores on disk hold: same settings, no other content, a store that exists."""
    with pytest.raises(FileNotFoundError, match="no such sample store"):
        SampleStore.open(url)
    store = SampleStore.create(url, SMALL_SAMPLING)
    store.write(record)
    assert SampleStore.create(url).config == SMALL_SAMPLING
    with pytest.raises(StoreError, match="was created with different settings: near "):
        SampleStore.create(url, replace(SMALL_SAMPLING, near=7))
    other = locate(url).parent / f"{uuid.uuid4().hex}"
    (other / "notes.txt").write(b"text")  # type: ignore[union-attr]
    with pytest.raises(StoreError, match="not a sample store"):
        SampleStore.create(other, SMALL_SAMPLING)
    with pytest.raises(ConfigError, match="expected a name within the bucket, such as s3://bucket/shapes.zarr"):
        SampleStore.create("s3://bucket", SMALL_SAMPLING)


def test_damage_is_not_a_missing_connection(record: ShapeRecord, s3_url: str, server: StandIn) -> None:
    """A damaged or missing object is called damage; a storage that does not answer is not."""
    store = SampleStore.create(s3_url, SMALL_SAMPLING)
    store.write(record)
    place = locate(s3_url) / "shapes" / record.key
    shard = (place / "near/c/0/0").read_bytes()
    flipped = bytearray(shard)
    flipped[40] ^= 0xFF
    for content in (bytes(flipped), b"", shard[:-1]):
        (place / "near/c/0/0").write(content)  # type: ignore[union-attr]
        with pytest.raises(StoreError, match="shape 'lamp/a.b-1' is damaged"):
            store.offsurface_samples(record.key)
    (place / "near/c/0/0").delete()  # type: ignore[union-attr]
    with pytest.raises(StoreError, match="is damaged .the file of array near is missing"):
        store.offsurface_samples(record.key)
    server.fail_after = 0
    for read in (store.keys, lambda: store.band(record.key), lambda: SampleStore.open(s3_url), store.__len__):
        with pytest.raises(StoreError, match=r"does not answer or refuses .*repeat the command to continue"):
            read()


@needs_stand_in
def test_storage_killed_at_every_write(record: ShapeRecord, s3_url: str, server: StandIn, tmp_path: Path) -> None:
    """Whenever the storage stops, old shapes stay, the new one is absent or complete, and can be written again."""
    disk = SampleStore.create(tmp_path / "s.zarr", SMALL_SAMPLING)
    for name in ("old", "new"):
        disk.write(replace(record, id=name))
    expected = {name: data for name, data in files_of(tmp_path / "s.zarr").items() if name != "zarr.json"}
    for last in (1, 8, 15, 16):
        url = f"{s3_url}/{last}"
        store = SampleStore.create(url, SMALL_SAMPLING)
        store.copy_from(disk, "lamp/old")
        server.fail_after = last
        with pytest.raises(StoreError, match="does not answer"):
            store.copy_from(disk, "lamp/new")
            store.keys()
        server.fail_after = None
        store = SampleStore.open(url)
        assert store.keys() in (["lamp/old"], ["lamp/new", "lamp/old"])
        assert ("lamp/new" in store) == (last >= 16)
        for key in store:
            store.verify(key)
        store.copy_from(disk, "lamp/new")
        found = _objects(locate(url))  # type: ignore[arg-type]
        assert expected.items() <= found.items()


@needs_stand_in
def test_replaced_shape(record: ShapeRecord, s3_url: str, server: StandIn) -> None:
    """A shape that is being replaced is absent, never a mixture of two records."""
    store = SampleStore.create(s3_url, SMALL_SAMPLING)
    store.write(record)
    server.fail_after = 6
    with pytest.raises(StoreError, match="does not answer"):
        store.write(replace(record, seed=8))
    server.fail_after = None
    assert store.keys() == []
    store.write(replace(record, seed=8))
    store.verify(record.key)
    assert store.info(record.key).seed == 8


@pytest.mark.slow
@needs_stand_in
@pytest.mark.usefixtures("in_process")
def test_preprocessing_with_a_killed_storage(
    s3_url: str, server: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run whose storage stops half-way says so and can be repeated; the store is that of a run on disk."""
    assert preprocess.main([*LAMPS, "--out", str(tmp_path / "s.zarr")]) == 0
    server.fail_after = 25
    assert preprocess.main([*LAMPS, "--out", s3_url]) == 2
    assert "repeat the command to continue" in " ".join(capsys.readouterr().err.split())
    server.fail_after = None
    assert SampleStore.open(s3_url).keys() == ["lamp/lamp_0000"]
    assert preprocess.main([*LAMPS, "--out", s3_url]) == 0
    report = json.loads((locate(s3_url) / "report.json").read_bytes())
    assert report["present"] == 1 and len(report["made"]) == 2
    expected = files_of(tmp_path / "s.zarr" / "shapes")
    assert _objects(locate(s3_url) / "shapes") == expected  # type: ignore[arg-type]
    assert f"next: latentsdf train --config latentsdf_cpu --data {s3_url} --out" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_shards_in_object_storage(url: str, tmp_path: Path) -> None:
    """Shards on disk merge into a store at a URL, and stores at URLs into one at a URL or on disk."""
    parts: list[Path] = [tmp_path / f"{index}.zarr" for index in (1, 2)]
    for index, part in enumerate(parts, 1):
        assert preprocess.main([*LAMPS, "--out", str(part), "--shard", f"{index}/2"]) == 0
    shards.merge(parts, tmp_path / "merged.zarr")
    expected = files_of(tmp_path / "merged.zarr" / "shapes")
    shards.merge(parts, locate(f"{url}/merged"))
    assert _objects(locate(f"{url}/merged/shapes")) == expected  # type: ignore[arg-type]
    remote = []
    for index, part in enumerate(parts, 1):
        place = SampleStore.create(f"{url}/{index}", SampleStore.open(part).config)
        for key in SampleStore.open(part):
            assert place.copy_from(SampleStore.open(part), key)
        write_text(place, shards.MARKER, (part / shards.MARKER).read_text())
        remote.append(place.path)
    shards.merge(remote, locate(f"{url}/again"))
    assert _objects(locate(f"{url}/again/shapes")) == expected  # type: ignore[arg-type]
    shards.merge(remote, tmp_path / "back.zarr")
    assert files_of(tmp_path / "back.zarr" / "shapes") == expected
    with pytest.raises(StoreError, match="object storage has no hard links; leave out --link"):
        shards.merge(parts, locate(f"{url}/linked"), link=True)


def test_what_cannot_be_safe(url: str) -> None:
    """Memory is not shared by processes, and previews need a disk."""
    expected = "do not share their memory" if url.startswith("memory") else "previews are drawn on disk"
    with pytest.raises(ConfigError, match=expected):
        preprocess.parse(preprocess.Preprocess, [*LAMPS, "--out", url, "--preview"], "p").process()


@pytest.mark.slow
def test_commands(lamp_store: SampleStore, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training, info, export and the explorer read a store at a URL, with the results of the store on disk."""
    remote = SampleStore.create(url, lamp_store.config)
    for key in lamp_store:
        remote.copy_from(lamp_store, key)
    config = small_config(steps=3, shapes_per_batch=2, log_every=1)
    losses = [
        train(place, tmp_path / name, config, device="cpu")["loss"]
        for name, place in (("disk", lamp_store.path), ("remote", url))
    ]
    assert losses[0] == losses[1]
    assert cli.main(["info", url, "--verify", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["store"] == url and len(described["shapes"]) == 3
    assert cli.main(["export", url, str(tmp_path / "x.h5")]) == 0
    assert cli.main(["import", str(tmp_path / "x.h5"), f"{url}.copy"]) == 0
    assert SampleStore.open(f"{url}.copy").keys() == lamp_store.keys()
    assert kind_of(url) == "store"


def test_sampling_in_this_process(tmp_path: Path, url: str) -> None:
    """`ls.preprocess` and `store.add` write to a URL, too."""
    import trimesh

    config = ls.SamplingConfig(resolution=16, band_voxels=1, sparse_resolution=16, near=20, uniform=20, surface=20)
    box = trimesh.creation.box((1, 2, 3))
    on_disk, remote = (ls.preprocess({"box": box}, place, config) for place in (tmp_path / "s.zarr", url))
    assert remote.info("shape/box") == on_disk.info("shape/box")
    remote.add("again", box)
    assert remote.keys() == ["shape/again", "shape/box"]
