"""Images drawn in the background."""

import io
import threading
from collections.abc import Hashable

from PIL import Image

from latentsdf.explorer.decoding import Check, PriorityGate
from latentsdf.explorer.thumbnails import Thumbnails
from latentsdf.utils.errors import MeshError

_TIMEOUT = 20.0


def test_drawn_once_and_kept() -> None:
    """The second request is answered from memory."""
    drawn: list[Hashable] = []

    def draw(key: Hashable, check: Check) -> Image.Image:
        check()
        drawn.append(key)
        return Image.new("RGB", (8, 8), "red")

    thumbnails, ready = Thumbnails(draw, PriorityGate()), threading.Event()
    assert thumbnails.get("a", ready.set) is None
    assert ready.wait(_TIMEOUT)
    png = thumbnails.get("a", ready.set)
    assert png is not None
    assert Image.open(io.BytesIO(png)).size == (8, 8)
    assert drawn == ["a"]
    thumbnails.close()


def test_last_request_first() -> None:
    """The image that was asked for last is drawn next."""
    begun, leave, done = threading.Event(), threading.Event(), threading.Event()
    drawn: list[Hashable] = []

    def draw(key: Hashable, _: Check) -> Image.Image:
        begun.set()
        assert leave.wait(_TIMEOUT)
        drawn.append(key)
        return Image.new("RGB", (8, 8))

    thumbnails = Thumbnails(draw, PriorityGate())
    thumbnails.get("a", lambda: None)
    assert begun.wait(_TIMEOUT)
    thumbnails.get("b", done.set)
    thumbnails.get("c", lambda: None)
    leave.set()
    assert done.wait(_TIMEOUT)
    assert drawn == ["a", "c", "b"]
    thumbnails.close()


def test_shape_that_cannot_be_drawn_has_no_image() -> None:
    """An error does not end the thread."""

    def draw(*_: object) -> Image.Image:
        raise MeshError("no faces")

    thumbnails, ready = Thumbnails(draw, PriorityGate()), threading.Event()
    thumbnails.get("a", ready.set)
    assert ready.wait(_TIMEOUT)
    assert thumbnails.get("a", lambda: None) is None
    thumbnails.close()
