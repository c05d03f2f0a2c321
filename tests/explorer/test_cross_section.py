"""Images of planes, and how they lie in the scene."""

import numpy as np
import pytest
import torch

from latentsdf.explorer.cross_section import Plane, draw_plane
from latentsdf.explorer.space_decoder import Picture, cut_open
from latentsdf.rendering.level_sets import Axis, slice_points


def _rotation(wxyz: tuple[float, float, float, float]) -> np.ndarray:
    w, v = wxyz[0], np.array(wxyz[1:])
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_image_lies_where_its_pixels_were_measured(axis: Axis) -> None:
    """In the scene, columns of an image go along x and rows along y, before the rotation."""
    plane, size = Plane(axis, 0.3), 5
    centers = ((np.arange(size) + 0.5) / size * 2 - 1)[None].repeat(size, 0)
    local = np.stack((centers, centers.T, np.zeros_like(centers)), axis=-1).reshape(-1, 3)
    placed = local @ _rotation(plane.wxyz).T + plane.position
    np.testing.assert_allclose(placed, slice_points(axis, 0.3, size), atol=1e-12)


def test_drawn_plane() -> None:
    """Inside is blue and outside orange."""
    image = draw_plane(Plane("z"), lambda points: points.norm(dim=1) - 0.5, 64)
    assert image.shape == (64, 64, 4)
    assert image[32, 32, 3] == 255 > image[32, 60, 3] > image[0, 0, 3]  # fading outside
    assert image[32, 32, 2] > image[32, 32, 0]  # blue inside
    assert image[0, 32, 0] > image[0, 32, 2]  # orange outside


def test_drawn_quantity() -> None:
    """Another quantity than a distance is drawn by the given function, row by row from the top."""
    image = draw_plane(
        Plane("z"), lambda points: points[:, 0], 8, draw=lambda values: np.uint8([values > 0] * 3).transpose(1, 2, 0)
    )
    np.testing.assert_array_equal(image[..., 0], np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 8, axis=0))
    assert (image[..., 3] == 255).all()


def test_cut_open() -> None:
    """Faces with a vertex on the plane or below it stay."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]], dtype=np.float32)
    picture = Picture(vertices, np.array([[0, 1, 2], [3, 4, 5], [0, 1, 3]], dtype=np.uint32), 64)
    np.testing.assert_array_equal(cut_open(picture, Plane("z", 0.5)), picture.faces[[0, 2]])


def test_device_of_points() -> None:
    """The field gets points on the requested device."""
    found = []

    def distance(points: torch.Tensor) -> torch.Tensor:
        found.append(points.device.type)
        return points[:, 0]

    draw_plane(Plane(), distance, 8, device="cpu")
    assert found == ["cpu"]
