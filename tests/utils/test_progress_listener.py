"""Progress for callers that show it themselves."""

import threading

from latentsdf.utils.console import track
from latentsdf.utils.progress_listener import listen_to_progress, progress_listener


def test_track_reports_to_the_listener() -> None:
    """Shares follow the steps and end at 1."""
    heard: list[tuple[str, float]] = []
    with listen_to_progress(lambda what, share: heard.append((what, share))), track("fitting", total=4) as advance:
        advance()
        advance(2, note="halfway")
        advance(5)
    assert heard == [("fitting", 0.25), ("fitting", 0.75), ("fitting", 1.0)]
    assert progress_listener() is None


def test_listener_belongs_to_its_thread() -> None:
    """Other threads keep their progress bars."""
    found: list[object] = []
    with listen_to_progress(lambda *_: None):
        thread = threading.Thread(target=lambda: found.append(progress_listener()))
        thread.start()
        thread.join()
    assert found == [None]
