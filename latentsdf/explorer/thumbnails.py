"""Small images of shapes, drawn by a thread in the background and kept in memory."""

import io
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable

from PIL import Image

from latentsdf.explorer.decoding import Cancelled, Check, Priority, PriorityGate
from latentsdf.utils.console import console
from latentsdf.utils.errors import LatentSDFError

PIXELS = 104
"""Width and height of an image."""
_KEPT = 4_000  # images of about 5 kB


class Thumbnails:
    """Images by key, shared by all visitors. The image that was asked for last is drawn first.

    Args:
        draw: Draws the image of a key; calls the check often.
        gate: Lets drawing wait for the pictures of visitors.
    """

    def __init__(self, draw: Callable[[Hashable, Check], Image.Image], gate: PriorityGate) -> None:
        self._draw, self._gate = draw, gate
        self._changed = threading.Condition()
        self._images: OrderedDict[Hashable, bytes | None] = OrderedDict()
        self._waiting: OrderedDict[Hashable, list[Callable[[], None]]] = OrderedDict()
        self._closed = False
        threading.Thread(target=self._run, name="latentsdf-thumbnails", daemon=True).start()

    def get(self, key: Hashable, ready: Callable[[], None]) -> bytes | None:
        """Return an image as PNG, or None if it is not drawn yet or cannot be drawn.

        Args:
            key: Key of the shape.
            ready: Called in another thread when the image has been drawn after this call.
        """
        with self._changed:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
            self._waiting.setdefault(key, []).append(ready)
            self._waiting.move_to_end(key)
            self._changed.notify_all()
        return None

    def close(self) -> None:
        """End the thread after the image that it is drawing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._waiting))
                if self._closed:
                    return
                key = next(reversed(self._waiting))
            image = self._png(key)
            with self._changed:
                self._images[key] = image
                while len(self._images) > _KEPT:
                    self._images.popitem(last=False)
                listeners = self._waiting.pop(key)
            for ready in dict.fromkeys(listeners):
                ready()

    def _png(self, key: Hashable) -> bytes | None:
        def check() -> None:
            if self._closed:
                raise Cancelled

        try:
            with self._gate.work(Priority.BACKGROUND, check) as paused:
                image = self._draw(key, paused)
        except (Cancelled, LatentSDFError):
            return None
        except Exception:  # the other images are drawn nevertheless
            console.print(traceback.format_exc(), markup=False)
            return None
        buffer = io.BytesIO()
        image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()
