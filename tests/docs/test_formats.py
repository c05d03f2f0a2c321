"""docs/formats.md as a specification: a reader that knows only this page agrees with the library."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from helpers.independent_reader import Space, read_artifact, read_band, to_model_space
from helpers.paths import REPOSITORY
from helpers.settings import FIT, LEARNED, REFINEMENT

from latentsdf.config.inversion import RefineConfig
from latentsdf.data.furniture import furniture
from latentsdf.geometry.lattice import linear_index

if TYPE_CHECKING:
    from latentsdf.space import ShapeSpace

POINTS = np.random.default_rng(0).uniform(-1, 1, (500, 3))


def test_store(store_path: Path) -> None:
    """The band that the reader decodes is that of the library, vertex by vertex."""
    from latentsdf.data.store import SampleStore

    store = SampleStore.open(store_path)
    for key in store:
        vertices, distance = read_band(store_path, key)
        index, expected = store.band(key)
        np.testing.assert_array_equal(linear_index(vertices, store.config.resolution), index)
        np.testing.assert_allclose(distance, expected, atol=1e-7)


def test_store_over_several_chunks(tmp_path: Path) -> None:
    """A band of several chunks, each of which starts its differences anew."""
    import latentsdf as ls

    sampling = ls.SamplingConfig(resolution=128, band_voxels=6.0, sparse_resolution=16, near=10, uniform=10, surface=10)
    store = ls.preprocess({"table/one": furniture("table", 0)}, tmp_path / "one.zarr", sampling)
    assert store.band_chunk_count("table/one") > 1
    vertices, distance = read_band(store.path, "table/one")
    index, expected = store.band("table/one")
    np.testing.assert_array_equal(linear_index(vertices, 128), index)
    np.testing.assert_allclose(distance, expected, atol=1e-7)


def test_space(space: "ShapeSpace", space_path: Path) -> None:
    """Ids, placements, codes and the distances of both branches agree."""
    found = Space(space_path)
    assert [shape["key"] for shape in found.shapes] == space.keys
    assert (found.fingerprint(), found.normalization) == (space.fingerprint, space.normalization)
    for row, shape in enumerate(found.shapes):
        similarity = space.similarity(row)
        np.testing.assert_allclose(
            to_model_space(POINTS, shape["center"], shape["scale"]), similarity.to_model(POINTS), atol=1e-12
        )
        _require_equal_branches(space, row, found.branches(POINTS, found.codes[row]))


@pytest.mark.slow
@pytest.mark.parametrize("refinement", [REFINEMENT, LEARNED], ids=["compressed", "learned"])
def test_fit(space: "ShapeSpace", space_path: Path, tmp_path: Path, refinement: RefineConfig) -> None:
    """A refined fit with codes by layer is decoded to the same distances."""
    mesh = furniture("table", 7)
    fit = space.refine(space.invert(mesh, FIT), mesh, refinement)
    fit.save(tmp_path)
    assert read_artifact(tmp_path, "fit") == {"report.json", "code.npy", "layers.npy", "delta.npz"}
    report = json.loads((tmp_path / "report.json").read_text())
    found = Space(space_path)
    assert report["space"] == found.fingerprint() and report["refined"] and report["by_layer"]
    assert report["ok"] == (report["residual"] <= 0.006)
    np.testing.assert_allclose(to_model_space(POINTS, **report["similarity"]), fit.similarity.to_model(POINTS))
    with np.load(tmp_path / "delta.npz") as delta:
        _require_equal_branches(space, fit, found.branches(POINTS, np.load(tmp_path / "layers.npy"), dict(delta)))
    np.testing.assert_array_equal(np.load(tmp_path / "code.npy"), fit.code)


def _require_equal_branches(space: "ShapeSpace", shape: object, found: tuple[np.ndarray, np.ndarray]) -> None:
    points = torch.from_numpy(POINTS).float()
    for branch, values in zip(("general", "overfit"), found, strict=True):
        with torch.no_grad():
            expected = space.field(shape, branch, frame="model")(points).numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_names_on_the_page() -> None:
    """The page names every file and array of the formats."""
    from latentsdf.data.zarr_layout import ARRAYS
    from latentsdf.latent import saved_index
    from latentsdf.latent.inversion import fit_folder
    from latentsdf.reconstruction.result import FIELD_FILES
    from latentsdf.training import checkpoint

    page = (REPOSITORY / "docs" / "formats.md").read_text()
    names = (*ARRAYS, *checkpoint._FILES, *fit_folder._FILES, *saved_index._FILES, *FIELD_FILES)
    assert [name for name in names if f"`{name}`" not in page] == []
