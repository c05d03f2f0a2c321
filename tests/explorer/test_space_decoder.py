"""Pictures of the shapes of a space."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from latentsdf.explorer.cross_section import COARSE_PIXELS, FINE_PIXELS, Plane
from latentsdf.explorer.decoding import Cancelled
from latentsdf.explorer.space_decoder import SpaceDecoder, SpaceView, preview_mode

if TYPE_CHECKING:
    from latentsdf.space import ShapeSpace


def _nothing() -> None:
    """Check that never cancels."""


@pytest.fixture
def view(trained_space: "ShapeSpace") -> SpaceView:
    """View of the first shape."""
    return SpaceView(trained_space[trained_space.ids[0]])


@pytest.mark.slow
def test_fine_mesh_equals_that_of_extract(trained_space: "ShapeSpace", view: SpaceView) -> None:
    """The page shows what `extract` returns."""
    picture = SpaceDecoder(trained_space, resolution=128)(view, True, _nothing)
    expected = trained_space.extract(view.code, 128, frame="model")
    np.testing.assert_array_equal(picture.vertices, expected.vertices.astype(np.float32))
    np.testing.assert_array_equal(picture.faces, expected.faces)


@pytest.mark.slow
def test_preview_and_mesh_kept_for_a_moving_plane(trained_space: "ShapeSpace", view: SpaceView) -> None:
    """A moving plane keeps the fine mesh; another shape starts with a preview."""
    decoder = SpaceDecoder(trained_space, preview="general", resolution=128)
    preview = decoder(view, False, _nothing)
    assert (preview.resolution, preview.mode) == (64, "general")
    fine = decoder(view, True, _nothing)
    moved = decoder(SpaceView(view.code, "fused", Plane("y", 0.1)), False, _nothing)
    assert moved.vertices is fine.vertices
    assert moved.image is not None
    assert moved.image.shape == (COARSE_PIXELS, COARSE_PIXELS, 4)
    cut = decoder(SpaceView(view.code, "fused", Plane("y", 0.0, cuts=True, shows_band=True)), True, _nothing)
    assert cut.image is not None
    assert cut.image.shape == (FINE_PIXELS, FINE_PIXELS, 4)
    assert 0 < len(cut.faces) < len(fine.faces)
    other = decoder(SpaceView(trained_space[trained_space.ids[1]]), False, _nothing)
    assert other.resolution == 64


@pytest.mark.slow
def test_cancelled_between_evaluations(trained_space: "ShapeSpace", view: SpaceView) -> None:
    """The check is called before each evaluation of a field."""
    calls = 0

    def third_time() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        SpaceDecoder(trained_space, resolution=128)(view, True, third_time)


@pytest.mark.slow
def test_preview_mode_depends_on_the_time(trained_space: "ShapeSpace") -> None:
    """Slow decoding falls back to the general branch."""
    assert preview_mode(trained_space, seconds=1e9, tries=1) == "fused"
    assert preview_mode(trained_space, seconds=0.0, tries=1) == "general"
