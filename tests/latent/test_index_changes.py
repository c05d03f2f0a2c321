"""Changes of a retrieval index."""

from dataclasses import FrozenInstanceError

import pytest

from latentsdf.latent.index_changes import Changes


def test_no_changes() -> None:
    """Without arguments nothing is added or removed, the kind is chosen by the library, and nothing can be set."""
    none = Changes()
    assert (dict(none.added), none.removed, none.kind) == ({}, (), "auto")
    assert Changes().added is not none.added
    with pytest.raises(FrozenInstanceError):
        none.removed = ("a",)  # type: ignore[misc]
